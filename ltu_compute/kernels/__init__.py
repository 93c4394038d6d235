"""Image analysis: pure functions from arrays to arrays, numbers or frozen dataclasses.

A kernel knows no vendor, no HTTP and no file format. It accepts read-only and non-contiguous
arrays, leaves its input unchanged, gives the same output for the same input, raises ``ValueError``
when it is misused and returns ``None`` or an empty result when the image holds no answer.
"""
