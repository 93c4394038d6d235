"""Helpers of the tests and benchmarks; nothing here imports either."""
