"""Benchmarks as a part of the product: suites of measurements, each held against the bar that was promised."""
