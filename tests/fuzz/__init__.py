"""Fuzzing: what takes bytes from strangers, as functions that a fuzzer calls.

A target returns whatever the bytes are, or raises what is a finding. `tests/test_fuzz.py` runs each
on its kept corpus and on bytes made from it; for hours, with coverage to lead the way, run

    python -m tests.fuzz decoding --seconds 3600

which needs the extra ``[fuzz]``. What it finds new stays in ``.data/fuzz/``; inputs that once
were findings belong into ``tests/fuzz/corpus/``.
"""
