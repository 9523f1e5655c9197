"""What the benchmarks share: starting servers, driving load, accounting for CPU time, figures and tables."""
