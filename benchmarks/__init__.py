"""Benchmarks that anyone can run; the figures in README and docs come from here. `python -m benchmarks` lists them."""
