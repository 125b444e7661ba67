"""Measurements: one module each, run with `python -m benchmarks.<module>`. Nothing here is imported by the platform."""
