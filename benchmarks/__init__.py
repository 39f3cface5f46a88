"""Benchmarks that anyone can run; the figures in README and notes come from here. `python -m benchmarks` lists them."""
