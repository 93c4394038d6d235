"""Fuzz one target with atheris, for as long as asked."""

import argparse
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ltu_compute"]):
    from tests.fuzz.targets import TARGETS, seeds

KEPT = Path(".data/fuzz")
ROUND_S = 180  # of one process: atheris loses some kB with each exception that it watches


def main() -> None:
    """Run round after round; the first finding, which is kept as a file, ends all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    asked = parser.parse_args()
    if asked.seconds <= ROUND_S:
        fuzz(asked.target, asked.seconds)
    end = time.monotonic() + asked.seconds
    while (left := int(end - time.monotonic())) > 0:
        seconds = str(min(left, ROUND_S))
        command = [sys.executable, "-m", "tests.fuzz", asked.target, "--seconds", seconds]
        ended = subprocess.run(command, check=False)
        if ended.returncode:
            sys.exit(ended.returncode)


def fuzz(target: str, seconds: int) -> None:
    """Run; the process ends with the first finding, or when the time is over."""
    found, begun = KEPT / "findings", KEPT / target
    for folder in (found, begun):
        folder.mkdir(parents=True, exist_ok=True)
    for content in seeds(target):
        (begun / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    options = {
        "max_total_time": seconds,
        "artifact_prefix": f"{found}/{target}-",
        "timeout": 5,
        "rss_limit_mb": 2048,
        "max_len": 20_000,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(begun)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
