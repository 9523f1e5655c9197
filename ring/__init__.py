"""The ring, which assigns keys to nodes, and the agreement on epoch records. No I/O, clock, randomness or logging."""
