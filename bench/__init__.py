"""Benchmarks: what a claim of speed rests on, as ratios measured in one run."""
