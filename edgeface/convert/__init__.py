"""edgeface's own models: every variant of a file, its checks, its parity with float, and the report."""
