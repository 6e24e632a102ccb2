"""Mixed load for minutes: what leaks, and whether an answer is lost; `python -m bench.soak`."""
