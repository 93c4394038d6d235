"""Memory, time and bytes that each operation takes of the worst pictures.

    python -m benchmarks.stress.worst_case [--megapixels 50] [--operations contours,edges]
        [--pictures checkers] [--write]

Each operation runs on each picture of `tests.support.adversarial`, at the parameters that cost
most, in a process of its own whose peak of memory the kernel reports (VmHWM). Memory is what a
computation adds to a process that has the file and has run every operation once before.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from benchmarks import report
from ltu_compute.dialects import DIALECTS
from ltu_compute.errors import ServiceError
from ltu_compute.image import Image
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import load
from ltu_compute.warm_up import warm_up
from ltu_compute.web.dialect import Dialect, Exchange, Head
from ltu_compute.web.endpoint import Endpoint
from tests.support import adversarial

# Parameters that cost most, by operation; the empty ones are the defaults.
PARAMETERS: dict[str, tuple[dict[str, Any], ...]] = {
    "objectMaskDetection": (
        {"only_biggest": False},
        {"algorithm": "SOBEL", "only_biggest": False},
        {"algorithm": "BINNING", "only_biggest": False},
    ),
    "contours": ({}, {"channel": "S"}),
    "edges": ({}, {"edge_thickness": 31}, {"edge_thickness": 200}),
    "alignmentMatrix": ({}, {"return_image": True}),
    "differences": (
        {"mask_type": "binary"},
        {"fic_settings": {"threshold": 0, "smooth": 0, "resolution": 900}, "mask_type": "contours"},
        {"fic_settings": {"resolution": "full"}, "mask_type": "contours"},
    ),
}
LIMIT_S = 300  # of a run; longer ones are reported as such
MEMORY_LIMIT = 8 << 30  # bytes of address space; a run that wants more is reported as such


class Worst(NamedTuple):
    """What a run took.

    Attributes
    ----------
    megabytes : float
        Memory above that before the run, at its peak.
    seconds : float
        Of processor time.
    reply : int
        Bytes of the reply.
    message : str
        Of the reply, or the error.
    """

    megabytes: float
    seconds: float
    reply: int
    message: str


@dataclass(frozen=True)
class Case:
    """An operation on a picture."""

    dialect: Dialect
    endpoint: Endpoint
    parameters: dict[str, Any]
    picture: str
    against: bool = False  # the second image of a pair is flat, not the picture again

    @property
    def name(self) -> str:
        """Operation and parameters, in words."""
        values = ", ".join(f"{k} {v}" for k, v in self.parameters.items())
        values += ", against a flat picture" if self.against else ""
        return f"{self.endpoint.name} ({values.lstrip(', ')})" if values else self.endpoint.name


def _memory(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def measured(case: Case, content: bytes, nothing: bytes, recognisers: Recognisers) -> Worst:
    """Run an operation in this process; its peak of memory must not have been higher before."""
    images = [
        Image.from_bytes(
            nothing if number and case.against else content, max_pixels=1 << 30, name=image.name
        )
        for number, image in enumerate(case.endpoint.images)
        if image.required
    ]
    images += [None] * (len(case.endpoint.images) - len(images))  # type: ignore[list-item]
    params = case.endpoint.params.model_validate(case.parameters)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, began = _memory("VmRSS"), time.process_time()
    try:
        reply = case.endpoint.run(
            images, params, {Recognisers: recognisers, RecipeShelf: RecipeShelf()}
        )
        head = Head("POST", case.endpoint.path, {})
        body = case.dialect.answer(Exchange(head, case.dialect, case.endpoint), reply).body
        message, size = reply.message, len(body)
    except ServiceError as error:
        message, size = str(error), 0
    return Worst(_memory("VmHWM") - before, time.process_time() - began, size, message)


def _child(
    sink: Connection, case: Case, content: bytes, nothing: bytes, recognisers: Recognisers
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    try:
        sink.send(measured(case, content, nothing, recognisers))
    except MemoryError:
        sink.send(Worst(float("nan"), 0, 0, "out of memory"))


def isolated(case: Case, content: bytes, nothing: bytes, recognisers: Recognisers) -> Worst:
    """Run an operation in a process of its own."""
    source, sink = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(
        target=_child, args=(sink, case, content, nothing, recognisers)
    )
    child.start()
    sink.close()
    try:
        if source.poll(LIMIT_S):
            return source.recv()  # type: ignore[no-any-return]
        return Worst(float("nan"), LIMIT_S, 0, f"longer than {LIMIT_S} s")
    except EOFError:
        return Worst(float("nan"), 0, 0, f"ended, {child.exitcode}")
    finally:
        child.kill()
        child.join()


def cases(operations: Sequence[str], pictures: Sequence[str]) -> Iterator[Case]:
    """Yield every operation that takes an image on every picture."""
    for picture in pictures:
        for dialect in DIALECTS:
            for endpoint in dialect.endpoints:
                computes = set(endpoint.resources.values()) <= {Recognisers, RecipeShelf}
                asked = not operations or endpoint.name in operations
                if endpoint.images and computes and asked:
                    pair = len([image for image in endpoint.images if image.required]) > 1
                    for parameters in PARAMETERS.get(endpoint.name, ({},)):
                        yield Case(dialect, endpoint, parameters, picture)
                        if pair:
                            yield Case(dialect, endpoint, parameters, picture, against=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="The worst pictures for each operation.")
    parser.add_argument("--megapixels", type=float, default=50)
    parser.add_argument("--operations", default="", help="with commas between them; empty: all")
    parser.add_argument("--pictures", default="", help="with commas between them; empty: all")
    parser.add_argument("--write", action="store_true", help="write into README.md, too")
    asked = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    os.environ["OMP_THREAD_LIMIT"] = "1"
    width = int((asked.megapixels * 1e6 * 4 / 3) ** 0.5)
    height = int(asked.megapixels * 1e6 / width)
    names = [name for name in asked.operations.split(",") if name]
    pictures = [name for name in asked.pictures.split(",") if name] or list(adversarial.PICTURES)
    recognisers = Recognisers.from_settings(load())
    warm_up(DIALECTS, recognisers)
    worst: dict[str, list[tuple[Worst, Case]]] = {}
    picture, content = "", b""
    nothing = adversarial.file_of(adversarial.flat(width, height))
    for case in cases(names, pictures):
        if case.picture != picture:
            picture = case.picture
            content = adversarial.file_of(adversarial.PICTURES[picture](width, height))
        found = isolated(case, content, nothing, recognisers)
        worst.setdefault(case.name, []).append((found, case))
        line = f"{found.megabytes:7.0f} MB {found.seconds:7.2f} s {found.reply:10} B"
        print(f"{line}  {case.name}, {picture}: {found.message[:90]}", flush=True)
    rows = [_row(name, found) for name, found in worst.items()]
    text = (
        f"## Worst pictures\n\n{report.machine()}.\n\n`python -m benchmarks.stress.worst_case "
        f"--megapixels {asked.megapixels:g}`: the most that each operation took of the pictures of"
        " `tests/support/adversarial.py`, one thread, in a process of its own.\n\n"
        + report.table(("operation", "memory", "processor time", "reply"), rows)
    )
    print(text)
    if asked.write:
        path = report.README
        path.write_text(report.with_section(path.read_text(), "worst pictures", text))
    return 0


def _row(name: str, found: Sequence[tuple[Worst, Case]]) -> tuple[str, ...]:
    largest, case = max(found, key=lambda each: each[0].megabytes)
    slowest, slow = max(found, key=lambda each: each[0].seconds)
    longest, long = max(found, key=lambda each: each[0].reply)
    return (
        name,
        f"{largest.megabytes:.0f} MB ({case.picture})",
        f"{slowest.seconds:.1f} s ({slow.picture})",
        f"{longest.reply / 1e6:.1f} MB ({long.picture})",
    )


if __name__ == "__main__":
    sys.exit(main())
