"""The HTTP edge, written once for all dialects."""
