"""Fuzz one target with atheris, for as long as asked."""

import argparse
import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ltu_compute"]):
    from tests.fuzz.targets import TARGETS, seeds

KEPT = Path(".data/fuzz")


def main() -> None:
    """Run; the process ends with the first finding, which is kept as a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    asked = parser.parse_args()
    found, begun = KEPT / "findings", KEPT / asked.target
    for folder in (found, begun):
        folder.mkdir(parents=True, exist_ok=True)
    for content in seeds(asked.target):
        (begun / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    options = {
        "max_total_time": asked.seconds,
        "artifact_prefix": f"{found}/{asked.target}-",
        "timeout": 5,
        "rss_limit_mb": 2048,
        "max_len": 20_000,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(begun)], TARGETS[asked.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
