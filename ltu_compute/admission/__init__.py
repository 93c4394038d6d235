"""Limits on requests: how many compute, how many wait, how many an account may send."""
