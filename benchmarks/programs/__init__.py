"""Programs that benchmarks run as processes: servers, a client, a proxy, and a sender of bytes."""
