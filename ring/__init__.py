"""Where keys live, and the agreement on who owns them. No input or output, clock, randomness or logging."""
