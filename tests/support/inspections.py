"""Small pictures of a part, good and bad, for tests of batches and jobs."""

import json
import os
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.jobs.kinds import (
    INSPECTION,
    NAME,
    REFERENCE,
    SHOT,
    URL,
    Computed,
    Inputs,
    InspectionJob,
    Part,
)
from ltu_compute.jobs.limits import Limits
from ltu_compute.jobs.process import report_progress
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.settings import Settings
from ltu_compute.store.job_records import Job
from ltu_compute.store.jobs import Jobs

ANN = "account-ann"
SIZE = 120, 160  # rows and columns


@cache
def _part() -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    noise = rng.integers(30, 226, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
    part = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y = rng.integers(10, SIZE[1] - 10), rng.integers(10, SIZE[0] - 10)
        cv2.circle(part, (int(x), int(y)), int(rng.integers(3, 9)), (20, 20, 20), -1)
    return np.asarray(part, np.uint8)


def good(seed: int = 0) -> bytes:
    """Return a PNG of the part: the same but for a grain that is its own."""
    grain = np.random.default_rng(seed).integers(-1, 2, _part().shape)
    return _png(np.clip(_part() + grain, 0, 255))


def bad(seed: int = 0) -> bytes:
    """Return a PNG of the part with a white square, elsewhere for each seed."""
    shot = _part().copy()
    x, y = 20 + 13 * seed % 100, 20 + 7 * seed % 60
    cv2.rectangle(shot, (x, y), (x + 18, y + 18), (255, 255, 255), -1)
    return _png(shot)


def faint() -> bytes:
    """Return a PNG of the part with a white square at the right, and one just lighter at the left.

    The first three of the named sensitivities find both.
    """
    shot = _part().copy()
    cv2.rectangle(shot, (115, 65), (133, 83), (255, 255, 255), -1)
    shot[20:30, 20:30] = np.clip(shot[20:30, 20:30].astype(int) + 30, 0, 255)
    return _png(shot)


def reference() -> bytes:
    """Return a PNG of the part."""
    return _png(_part())


def batch(folder: Path, count: int) -> Path:
    """Write a reference and shots, of which every third is bad; return the folder of shots."""
    shots = folder / "shots"
    shots.mkdir(parents=True)
    (folder / "reference.png").write_bytes(reference())
    for number in range(count):
        content = bad(number) if number % 3 == 2 else good(number)
        (shots / f"shot-{number:03}.png").write_bytes(content)
    return shots


def results(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def lasting(row: dict[str, Any]) -> dict[str, Any]:
    """Return a result without what differs from run to run."""
    return {
        name: value
        for name, value in row.items()
        if not name.endswith(("seconds", "_at")) and name != "worker"
    }


NOT_NICE = """
import os
os.nice = lambda _: None
"""
"""A ``sitecustomize``: a service's jobs would hardly be computed beside other tests."""


def submit(jobs: Jobs, count: int, url: str = "") -> Job:
    """Add an inspection of shots, of which every third is bad; the last one may be an address."""
    parameters = InspectionJob(ComparisonSettings(), Limits(), "reference").dumps()
    job = jobs.create(ANN, INSPECTION, parameters)
    jobs.add_input(job, REFERENCE, reference())
    parts = [
        {
            NAME: f"shot-{number}".encode(),
            SHOT: bad(number) if number % 3 == 2 else good(number),
        }
        for number in range(count)
    ]
    if url:
        parts[-1] = {NAME: b"remote", URL: url.encode()}
    jobs.add_parts(job, parts)
    return jobs.submit(job)


def fragile(marker: str) -> Callable[[int], int]:
    """Return a computation that kills its process: of 3 always, of 4 the first time."""

    def compute(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4 and not Path(marker).exists():
            Path(marker).touch()
            os._exit(7)
        if number == 5:
            raise ValueError("five")
        return number * number

    return compute


def slow(parameters: str, shared: Inputs, settings: Settings) -> Part:
    """Compute for half a minute and tell how far it has come: a kind of job."""

    def compute(inputs: Inputs) -> Computed:
        for step in range(600):
            report_progress(step / 600)
            time.sleep(0.05)
        return Computed(b"{}")

    return compute


def deadly(parameters: str, shared: Inputs, settings: Settings) -> Part:
    """Kill the process with every part that has inputs: a kind of job."""

    def compute(inputs: Inputs) -> Computed:
        if inputs:
            os.kill(os.getpid(), signal.SIGKILL)
        return Computed(b"alive")

    return compute


def raising(parameters: str, shared: Inputs, settings: Settings) -> Part:
    """Raise with every part: a kind of job."""

    def compute(inputs: Inputs) -> Computed:
        raise ValueError("no such thing")

    return compute


def _png(picture: NDArray[Any]) -> bytes:
    content: bytes = cv2.imencode(".png", np.asarray(picture, np.uint8))[1].tobytes()
    return content
