"""Fits the parameters that kernels ship with."""
