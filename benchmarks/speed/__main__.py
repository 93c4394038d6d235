"""Speed, beside the limits of the machine and what others take: ``python -m benchmarks.speed``.

Everything that is compared runs in turns in one process or at one time, and is reported as a ratio
of processor time. A row says what is asked for, what was reached, and what it stands on.
"""

import argparse
import base64
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import orjson
from flask import Request as FlaskRequest
from werkzeug.test import EnvironBuilder

from benchmarks import report
from benchmarks.accuracy.photographs import photographs
from benchmarks.speed import peers
from benchmarks.speed.inputs import KINDS, SIZES, shot
from benchmarks.speed.peers import decoded, reduced
from benchmarks.speed.plot import log_log
from benchmarks.speed.service import (
    OPERATIONS,
    WORKERS,
    Memory,
    Rate,
    Running,
    bare,
    operation,
    running,
    served,
)
from benchmarks.speed.timing import HEAD, Row, Spent, Timed, growth, interleaved, ratio
from ltu_compute.admission.allocation import ALLOCATION
from ltu_compute.dialects import DIALECTS
from ltu_compute.dialects.ltu.interface import vertices
from ltu_compute.image import Image, encoding, transport
from ltu_compute.kernels.alignment import REFINEMENT_SIZE
from ltu_compute.kernels.color_palette import dominant_colors
from ltu_compute.kernels.edges import canny_edges
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.types import Box, Mask, Region
from ltu_compute.outbound.load import Request, drive
from ltu_compute.web import binding, wire

AS_SERVED = {  # what the service sets for itself; it must be set before Python starts
    "OPENBLAS_NUM_THREADS": "1",
    **{name: str(value) for name, (_, value) in ALLOCATION.items()},
}
PLOT = Path(__file__).parents[1] / "speed.svg"

LARGE, MEDIUM = "12 MP", "2 MP"
_MAX_PIXELS = 50_000_000
_PALETTE = 256  # px, that the operation works at

Measured = tuple[str, list[Row]]
"""A heading and what belongs under it."""


def image(content: bytes) -> Image:
    """Return a file as the service takes it, with nothing decoded yet."""
    return Image.from_bytes(content, max_pixels=_MAX_PIXELS)


# --- decoding and the operations ---------------------------------------------------------------


def decoding(rounds: int) -> Measured:
    """Decode at a reduced scale."""
    rows = []
    for kind in KINDS:
        content = shot(kind, LARGE).content
        times = interleaved(
            {
                "ours": partial(_fit, content, 512),
                "full decode, INTER_AREA": partial(_full_then_reduced, content, 512),
                "entropy decoding (1/8)": partial(decoded, content, cv2.IMREAD_REDUCED_COLOR_8),
            },
            rounds=rounds,
        )
        name = f"{LARGE} JPEG, {kind} → ≤ 512 px, over"
        ours, full_name, floor = times
        rows += [
            Row(f"{name} full decode", 0.40, ratio(times, [ours], [full_name]), times=times),
            Row(f"{name} entropy decoding", 1.5, ratio(times, [ours], [floor])),
        ]
    return "Decoding", rows


def _full_then_reduced(content: bytes, longest: int) -> object:
    return reduced(decoded(content, cv2.IMREAD_COLOR), longest)


def _fit(content: bytes, longest: int) -> object:
    return image(content).fit(longest)


def _fit_gray(content: bytes, longest: int) -> object:
    return image(content).fit_gray(longest)


def _gray(content: bytes) -> object:
    return image(content).gray()


def _peer(name: str, path: Path) -> Spent:
    return peers.palette(name, path)[0]


def palette(rounds: int) -> Measured:
    """Find colours, beside other libraries: time, and how well they stand for the picture."""
    rows = []
    for kind in KINDS:
        first = shot(kind, LARGE)
        times = interleaved(
            {
                "ours": operation("colorPalette", first.content),
                "Pylette": partial(_peer, "Pylette", first.path),
                "ColorThief": partial(_peer, "colorthief", first.path),
            },
            rounds=min(rounds, 3),
        )
        name = f"colorPalette {LARGE}, {kind}, over"
        rows += [
            Row(f"{name} Pylette", 1 / 8, ratio(times, ["ours"], ["Pylette"]), times=times),
            Row(f"{name} ColorThief", 1 / 40, ratio(times, ["ours"], ["ColorThief"])),
        ]
    ours, theirs = [], []
    for photograph in photographs("benchmark"):
        small = image(photograph.path.read_bytes()).fit(_PALETTE)
        found = [[c.red, c.green, c.blue] for c in dominant_colors(small, count=8)]
        ours.append(peers.mean_difference(small, found))
        colors = peers.palette("scikit-learn", photograph.path)[1]
        theirs.append(peers.mean_difference(small, colors))
    note = (
        f"mean ΔE00 of pixels and the nearest of 8 colours, {len(ours)} photographs: "
        f"{np.mean(ours):.2f} against {np.mean(theirs):.2f}"
    )
    name = "colorPalette, error of quantisation over scikit-learn's k-means (512 px, RGB)"
    rows.append(Row(name, 1.0, float(np.mean(ours) / np.mean(theirs)), note=note))
    return "Colours", rows


FIXED = {
    "heatMap": (1, 512),
    "distance": (2, 512),
    "alignmentMatrix": (2, REFINEMENT_SIZE),
    "differences": (2, 800),
}
"""Operations that work at fixed resolution: how many pictures, and at which px."""


def fixed_resolution(rounds: int) -> Measured:
    """Measure operations that work at a few hundred px, from large files."""
    rows = []
    for kind in KINDS:
        files = [shot(kind, LARGE, again=again).content for again in (False, True)]
        for name, (count, longest) in FIXED.items():
            contents = files[:count]
            # The kernel's own time: the same from files that hold no more than it works at.
            small = [_small(content, longest) for content in contents]
            at_scale = partial(_each, _fit, contents, WORKING_SIZE)
            floor: dict[str, Timed] = {"decoding at reduced scale": at_scale}
            if name == "alignmentMatrix":
                floor["full grey decode"] = partial(_each, _gray, contents)
            times = interleaved(
                {
                    "in all": operation(name, *contents),
                    "kernel": operation(name, *small),
                    "its decoding": partial(_each, _fit, small, 4096),
                    **floor,
                },
                rounds=rounds,
            )
            spent = times["in all"], times["kernel"], times["its decoding"]
            over = [
                (a.cpu - k.cpu + d.cpu) / sum(times[f].spent[i].cpu for f in floor)
                for i, (a, k, d) in enumerate(zip(*(each.spent for each in spent), strict=True))
            ]
            title = f"{name} {LARGE}, {kind}: beyond the kernel, over decoding"
            rows.append(Row(title, 2.0, median(over), times=times))
    return "Operations that work at fixed resolution", rows


def _small(content: bytes, longest: int) -> bytes:
    """Return a picture as a file of the size that the kernel works at."""
    return encoding.jpeg(image(content).fit(longest), quality=95)


def _each(function: Callable[..., object], contents: Sequence[bytes], *arguments: int) -> None:
    for content in contents:
        function(content, *arguments)


def comparison(rounds: int) -> Measured:
    """Align and compare, beside the recipes for it."""
    rows = []
    for kind in KINDS:
        pair = shot(kind, LARGE).content, shot(kind, LARGE, again=True).content
        times = interleaved(
            {
                "ours": operation("alignmentMatrix", *pair),
                "SIFT@512, full decode": partial(peers.sift_homography, *pair),
            },
            rounds=rounds,
        )
        name = f"alignmentMatrix {LARGE} JPEG, {kind}, over SIFT@512 and a full decode"
        rows.append(Row(name, 0.7, ratio(times, ["ours"], list(times)[1:]), times=times))
        times = interleaved(
            {
                "ours": operation("differences", *pair),
                "not aligned": partial(peers.plain_differences, *pair),
            },
            rounds=rounds,
        )
        name = f"differences {LARGE} JPEG, {kind}, over the plain recipe that does not align"
        rows.append(Row(name, 1.2, ratio(times, ["ours"], list(times)[1:]), times=times))
        shots = [shot(kind, MEDIUM, again=again, suffix=".png") for again in (False, True)]
        times = interleaved(
            {
                "ours": operation("differences", *(each.content for each in shots)),
                "odiff": peers.odiff(*(each.path for each in shots)),
            },
            rounds=rounds,
        )
        name = f"differences {MEDIUM} PNG, {kind}, over odiff"
        rows.append(Row(name, 0.6, ratio(times, ["ours"], ["odiff"]), times=times))
    return "Comparison", rows


def _canny(content: bytes) -> object:
    return cv2.Canny(decoded(content, cv2.IMREAD_GRAYSCALE), 50, 100)


def _otsu(content: bytes) -> object:
    value = decoded(content, cv2.IMREAD_COLOR).max(axis=2)
    return cv2.threshold(value, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)


def _median(content: bytes) -> object:
    pixels = decoded(content, cv2.IMREAD_COLOR)
    return cv2.medianBlur(cv2.extractChannel(pixels, 2), 5)


FULL_SIZE: dict[str, tuple[str, Callable[[bytes], object], Callable[[Path], object]]] = {
    "edges": ("grey decode, cv2.Canny", _canny, peers.skimage_edges),
    "objectMaskDetection": ("decode, cv2.medianBlur", _median, peers.skimage_object),
    "contours": ("decode, cv2.medianBlur", _median, peers.skimage_contours),
}
"""Operations at full size: the limit's name, the limit, and what scikit-image takes."""


def full_size(rounds: int) -> Measured:
    """Measure operations on all pixels, beside the calls that none can do without."""
    rows = []
    for size in (LARGE, MEDIUM):
        for kind in KINDS:
            first = shot(kind, size)
            for name, (limit, floor, peer) in FULL_SIZE.items():
                ours = operation(name, first.content)
                times = interleaved(
                    {"ours": ours, limit: partial(floor, first.content)}, rounds=rounds
                )
                title = f"{name} {size}, {kind}, over {limit}"
                rows.append(Row(title, 1.15, ratio(times, ["ours"], [limit]), times=times))
                if size == MEDIUM:
                    times = interleaved(
                        {"scikit-image": partial(peer, first.path), "ours": ours}, rounds=3
                    )
                    title = f"{name} {size}, {kind}: times as fast as scikit-image"
                    reached = ratio(times, ["scikit-image"], ["ours"])
                    rows.append(Row(title, 12, reached, at_least=True, times=times))
            if size == MEDIUM:
                times = interleaved(
                    {
                        "scikit-image, NumPy": partial(peers.skimage_quality, first.path),
                        "ours": operation("imageQuality", first.content),
                    },
                    rounds=3,
                )
                reached = ratio(times, ["scikit-image, NumPy"], ["ours"])
                title = f"imageQuality {size}, {kind}: times as fast as scikit-image and NumPy"
                rows.append(Row(title, 8, reached, at_least=True, times=times))
    return "Operations at full size", rows


# --- replies and bodies ------------------------------------------------------------------------


def replies(rounds: int) -> Measured:
    """Encode masks, and JSON."""
    rows = []
    gray = image(shot("noisy", MEDIUM).content).gray()
    _, bright = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    masks: dict[str, Mask] = {
        "edges": canny_edges(gray, low_threshold=50, high_threshold=100),
        "Otsu's": np.asarray(bright, np.uint8),
    }
    for name, mask in masks.items():
        times = interleaved(
            {"ours": partial(encoding.mask_png, mask), "cv2.imencode": partial(encoding.png, mask)},
            rounds=rounds,
        )
        ours, theirs = encoding.mask_png(mask), encoding.png(mask)
        back = cv2.imdecode(np.frombuffer(ours, np.uint8), cv2.IMREAD_GRAYSCALE)
        if not np.array_equal(back, mask):
            raise RuntimeError("a mask did not come back as it was")
        title = f"PNG of a {MEDIUM} mask ({name}) over cv2.imencode"
        reached = ratio(times, ["ours"], ["cv2.imencode"])
        note = f"{len(ours):,} bytes against {len(theirs):,}; decodes to the same pixels"
        rows += [
            Row(f"{title}, time", 0.30, reached, times=times),
            Row(f"{title}, bytes", 0.80, len(ours) / len(theirs), note=note),
        ]
    content = os.urandom(750_000)
    times = interleaved(
        {
            "ours": lambda: orjson.dumps({"value": transport.base64_text(content)}),
            "standard library": lambda: json.dumps(
                {"value": base64.b64encode(content).decode()}
            ).encode(),
        },
        rounds=20 * rounds,
    )
    reached = ratio(times, ["ours"], ["standard library"])
    title = "base64 and JSON of 1 MB over the standard library"
    rows.append(Row(title, 0.05, reached, times=times))
    outline = np.random.default_rng(1).integers(0, 4000, (20_000, 2)).astype(np.int32)
    region = Region(Box(0, 0, 4000, 4000), outline)
    times = interleaved(
        {"ours": lambda: orjson.dumps(vertices(region.vertices))}, rounds=5 * rounds
    )
    rows.append(Row("20,000 vertices as JSON", 6.0, times["ours"].cpu_ms, unit="ms"))
    return "Replies", rows


def bodies(rounds: int) -> Measured:
    """Read 10 MB of image out of a urlencoded body, and out of a file part."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (2150, 2900, 3), dtype=np.uint8)
    content = encoding.jpeg(noise, quality=93)
    endpoint = next(each for each in DIALECTS[0].endpoints if each.name == "colorPalette")
    limits = binding.Limits(50 << 20, _MAX_PIXELS)

    def bound(environ: Mapping[str, object], body: bytes) -> object:
        request = FlaskRequest({**environ, "wsgi.input": io.BytesIO(body)})
        request.max_form_memory_size = 1 << 30
        return binding.bind(endpoint, wire.read(request), fetch=_no_fetch, limits=limits)

    text = base64.b64encode(content).decode()
    subjects: dict[str, Timed] = {}
    ways: dict[str, dict[str, Any]] = {
        "urlencoded": {"image": text},
        "file part": {"image": (io.BytesIO(content), "image.jpg")},
    }
    for name, sent in ways.items():
        builder = EnvironBuilder(method="POST", path="/", data=sent)
        environ = builder.get_environ()
        subjects[name] = partial(bound, environ, environ["wsgi.input"].read())
    times = interleaved(subjects, rounds=rounds)
    reached = ratio(times, ["urlencoded"], ["file part"])
    name = f"base64 in a urlencoded body, {len(content) / 1e6:.1f} MB, over the same as a file part"
    return "Requests", [Row(name, 1.5, reached, times=times)]


def _no_fetch(url: str, *, name: str, referer: str = "") -> bytes:
    raise RuntimeError(f"{name}: {url} is not fetched here, from {referer!r}")


# --- start, memory, HTTP -----------------------------------------------------------------------


def start(rounds: int) -> Measured:
    """Import a kernel, and start the service."""
    program = (
        "import cv2, time; t = time.process_time(); import ltu_compute.kernels.edges; "
        "print(time.process_time() - t)"
    )
    command = [sys.executable, "-c", program]
    added = []
    for _ in range(rounds):
        printed = subprocess.run(command, capture_output=True, check=True, text=True)
        added.append(1000 * float(printed.stdout))
    started, worked = [], []
    for _ in range(3):
        with running() as service:
            started.append(service.started_s)
            worked.append(service.starting_cpu_s)
    imported = "import of ltu_compute.kernels.edges beyond that of cv2"
    answered = f"serve, {WORKERS} workers: to its first answer"
    note = (
        "by the clock, until /readyz answers 200; every operation has run once then; "
        f"processor time of all processes {median(worked):.2g} s"
    )
    return "Start", [
        Row(imported, 5.0, median(added), unit="ms"),
        Row(answered, 2.5, median(started), unit="s", note=note),
    ]


def http(seconds: float) -> Measured:
    """Drive the service, in turns with the same computation in bare processes."""
    cores = os.cpu_count() or 1
    photograph = _photograph_of(200_000)
    cases = {
        "edges, JPEG of 200 kB": ("edges", [photograph], 0.85),
        f"differences, {MEDIUM} JPEG": (
            "differences",
            [shot("noisy", MEDIUM, again=again).path for again in (False, True)],
            0.95,
        ),
    }
    rows: list[Row] = []
    with running() as service:
        for title, (name, files, limit) in cases.items():
            request = service.request(name, *(path.read_bytes() for path in files))
            turns = []
            for _ in range(3):
                through = served(service, request, connections=2 * WORKERS, seconds=seconds)
                alone = bare(name, files, processes=cores, seconds=seconds)
                turns.append((through, alone))
            rows += _http_rows(title, limit, turns)
        tiny = encoding.png(np.zeros((8, 8), np.uint8))
        rate = served(service, service.request("edges", tiny), connections=1, seconds=seconds)
        note = "edges of an 8 × 8 PNG: authenticated, account looked up, logged"
        rows.append(Row("a request that computes nothing", 1.5, rate.cpu_ms, unit="ms", note=note))
    return "HTTP", rows


def _http_rows(title: str, limit: float, turns: Sequence[tuple[Rate, Rate]]) -> Iterable[Row]:
    through, alone = (median(turn[which].per_second for turn in turns) for which in (0, 1))
    reached = median(served.per_second / bare.per_second for served, bare in turns)
    note = (
        f"{through:.1f}/s against {alone:.1f}/s; processor time of a request "
        f"{median(each.cpu_ms for each, _ in turns):.1f} ms against "
        f"{median(each.cpu_ms for _, each in turns):.1f} ms; the client shares the cores"
    )
    name = f"{title}: requests/s over calls/s in bare processes"
    yield Row(name, limit, reached, at_least=True, note=note)


def _photograph_of(length: int) -> Path:
    """Return a JPEG of about so many bytes."""
    path = shot("noisy", MEDIUM).path.with_name(f"noisy-{length}.jpg")
    if not path.exists():
        picture = image(shot("noisy", LARGE).content).fit(1100)
        path.write_bytes(encoding.jpeg(np.asarray(picture), quality=92))
    return path


def threads(seconds: float) -> Measured:
    """Compare one thread a computation with several: as many computations as cores."""
    cores = os.cpu_count() or 1
    files = [shot("noisy", MEDIUM).path]
    ways = {
        f"{cores} processes of 1 thread": (cores, 1),
        f"{cores} processes of {cores} threads": (cores, cores),
        f"1 process of {cores} threads": (1, cores),
    }
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, (processes, each) in ways.items():
            rate = bare("edges", files, processes=processes, seconds=seconds, threads=each)
            turns[name].append(rate.per_second)
    best, *others = (median(rates) for rates in turns.values())
    note = ", ".join(f"{name} {median(rates):.1f}/s" for name, rates in turns.items())
    name = f"edges {MEDIUM}: calls/s with one OpenCV thread each, over the best of the other ways"
    return "Threads", [Row(name, 1.0, best / max(others), at_least=True, note=note)]


MIXED = (
    ("edges", MEDIUM),
    ("heatMap", LARGE),
    ("colorPalette", LARGE),
    ("imageQuality", LARGE),
    ("contours", MEDIUM),
    ("objectMaskDetection", LARGE),
    ("edges", LARGE),
    ("distance", MEDIUM),
    ("alignmentMatrix", LARGE),
    ("differences", LARGE),
)
"""What is sent in turns to see whether memory grows."""


def memory(count: int) -> Measured:
    """Look at the memory of workers that are idle, and after many requests of all kinds."""
    with running() as service:
        idle = service.memory()
        requests = [_mixed_request(service, name, size) for name, size in MIXED]
        readings: list[Memory] = []
        for _ in range(4):
            outcome = drive(
                service.address,
                requests,
                connections=2 * WORKERS,
                seconds=600,
                at_most=max(1, count // 4),
            )
            if set(outcome.statuses) != {200}:
                raise RuntimeError(f"mixed requests: {dict(outcome.statuses)}")
            readings.append(service.memory())
    shares = "; ".join(f"{each.resident_mb:.0f} ({each.proportional_mb:.0f})" for each in readings)
    before, after = (
        max(each.resident_mb for each in half) for half in (readings[:2], readings[2:])
    )
    note = f"with its part of what is shared counted alone: {idle.proportional_mb:.0f} MB"
    mixed = f"{count} mixed requests of up to {LARGE}"
    return "Memory", [
        Row("a worker, idle", 140, idle.resident_mb, unit="MB", note=note),
        Row(
            f"the larger worker after {mixed}",
            350,
            readings[-1].resident_mb,
            unit="MB",
            note=f"after each quarter (its part of what is shared counted alone): {shares}",
        ),
        Row("the most in the second half over the most in the first", 1.1, after / before),
    ]


def _mixed_request(service: Running, name: str, size: str) -> Request:
    files = [shot("noisy", size, again=again).content for again in (False, True)]
    return service.request(name, *files[: len(OPERATIONS[name][1])])


# --- cost against size -------------------------------------------------------------------------


SCALING = ("0.5 MP", "2 MP", "8 MP", "32 MP")
_LINEAR = 1.05  # 1, and what repeated measurements differ by


def scaling(rounds: int) -> tuple[Measured, str]:
    """Measure every operation on pictures of several sizes; return a plot, too."""
    shots = {
        size: [shot("noisy", size, again=again).content for again in (False, True)]
        for size in SCALING
    }
    pixels = [SIZES[size].width * SIZES[size].height / 1e6 for size in SCALING]
    rows = []
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, (_, fields) in OPERATIONS.items():
        subjects: dict[str, Timed] = {
            size: operation(name, *shots[size][: len(fields)]) for size in SCALING
        }
        times = interleaved(subjects, rounds=min(rounds, 3))
        spent = [times[size].cpu_ms for size in SCALING]
        curves[name] = list(zip(pixels, spent, strict=True))
        if name in FIXED or name == "colorPalette":
            floors = interleaved(
                {size: partial(_each, _entropy, shots[size][: len(fields)]) for size in SCALING},
                rounds=min(rounds, 3),
            )
            # alignmentMatrix is made exact at 1600 px, which the smallest does not have.
            least = SCALING[1] if name == "alignmentMatrix" else SCALING[0]
            beyond = (times[SCALING[-1]].cpu_ms - times[least].cpu_ms) / (
                floors[SCALING[-1]].cpu_ms - floors[least].cpu_ms
            )
            span = f"{least} to {SCALING[-1]}"
            title = f"{name}: growth from {span} over that of entropy decoding"
            rows.append(Row(title, 2.0, beyond, times=times))
        else:
            title = f"{name}: exponent by which time grows with pixels"
            rows.append(Row(title, _LINEAR, growth(pixels, spent), times=times))
    plot = log_log(curves, x_label="megapixels", y_label="processor time, ms")
    return ("Cost against size", rows), plot


def _entropy(content: bytes) -> object:
    return decoded(content, cv2.IMREAD_REDUCED_GRAYSCALE_8)


# --- report ------------------------------------------------------------------------------------


def _conditions() -> str:
    """Tell on what, and with which versions."""
    packages = ("opencv-python-headless", "numpy", "pillow", "scikit-image", "orjson", "pybase64")
    software = {
        "Python": platform.python_version(),
        **{name: version(name) for name in (*packages, "gunicorn")},
        **peers.versions(),
    }
    versions = ", ".join(f"{name} {number}" for name, number in software.items())
    return f"{report.machine()}, {peers.processor()}; {versions}."


def _text(measured: Sequence[Measured], plot: str) -> str:
    rows = [row for _, rows in measured for row in rows]
    met = sum(row.met for row in rows)
    parts = [
        "## Speed",
        _conditions(),
        f"{met} of {len(rows)} rows reach what is asked for.",
        (
            "Ratios are of processor time within one run, everything compared in turns, one thread "
            "each; medians. *Noisy* pictures are four photographs with a camera's noise, *clean* "
            "ones are drawn; pairs are turned by 1° and brighter by 5 %, with six discs on the "
            "second. “Ours” is the operation from the file's bytes to those of the reply, checks, "
            "PNG, base64 and JSON included. The machine is shared while this runs: requests per "
            "second suffer from that on both sides."
        ),
    ]
    for title, found in measured:
        parts += [f"### {title}", report.table(HEAD, (row.cells() for row in found))]
    if plot:
        parts.append(f"![Processor time of each operation against megapixels]({PLOT.name})")
    return "\n\n".join(parts)


PARTS = (
    "decoding",
    "palette",
    "fixed",
    "comparison",
    "full",
    "replies",
    "bodies",
    "start",
    "http",
    "threads",
    "memory",
    "scaling",
)
"""What can be measured, in order."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description="Speed, beside limits and peers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="several; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each subject")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each drive over HTTP")
    parser.add_argument("--requests", type=int, default=2000, help="mixed, to see memory grow")
    parser.add_argument("--write", action="store_true", help="write into README.md, too")
    asked = parser.parse_args(arguments)
    if not os.environ.items() >= AS_SERVED.items():
        os.environ.update(AS_SERVED)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.speed", *sys.argv[1:]])  # noqa: S606  (itself)
    cv2.setNumThreads(1)
    peers.installed()
    chosen = asked.part or PARTS
    by_name: dict[str, Callable[[], Measured]] = {
        "decoding": partial(decoding, asked.rounds),
        "palette": partial(palette, asked.rounds),
        "fixed": partial(fixed_resolution, asked.rounds),
        "comparison": partial(comparison, asked.rounds),
        "full": partial(full_size, asked.rounds),
        "replies": partial(replies, asked.rounds),
        "bodies": partial(bodies, asked.rounds),
        "start": partial(start, asked.rounds),
        "http": partial(http, asked.seconds),
        "threads": partial(threads, asked.seconds / 2),
        "memory": partial(memory, asked.requests),
    }
    measured, plot = [], ""
    for name in PARTS:
        if name not in chosen:
            continue
        if name == "scaling":
            found, plot = scaling(asked.rounds)
        else:
            found = by_name[name]()
        measured.append(found)
        print(f"{name}: {sum(row.met for row in found[1])} of {len(found[1])}", file=sys.stderr)
    if asked.write and plot:
        PLOT.write_text(plot, "utf-8")
    section = _text(measured, plot)
    print(section)
    if asked.write:
        before = report.README.read_text("utf-8")
        report.README.write_text(report.with_section(before, "speed", section), "utf-8")


if __name__ == "__main__":
    main()
