"""Damaged files by the hundred thousand, for every reader of minigan: what `python -m benchmarks.fuzz` is made of."""
