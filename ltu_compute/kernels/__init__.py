"""Image analysis: pure functions from arrays to arrays, numbers or frozen dataclasses.

A kernel knows no vendor, no HTTP and no file format. It accepts read-only and non-contiguous
arrays, and leaves its input unchanged. The same input gives the same output. It raises
``ValueError`` when it is misused, and returns ``None`` or an empty result when the image holds no
answer.
"""
