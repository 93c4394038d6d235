"""Speed of comparisons at full resolution, and of recipes with ORB.

Run as ``python -m benchmarks.speed.full_resolution --write``. Memory is the most that the process
had resident during a pair, beyond what it had before the first one of these.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks import report
from benchmarks.accuracy.drawn_parts import families
from benchmarks.speed import peers
from benchmarks.speed.inputs import KINDS, shot
from benchmarks.speed.service import operation
from benchmarks.speed.timing import HEAD, Row, interleaved, ratio
from ltu_compute.admission.allocation import keep_memory
from ltu_compute.kernels.types import Bgr, Gray

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_FULL = '{"resolution": "full"}'
_LIMITS_S = {"12 MP": 1.5, "50 MP": 6.0}  # s of processor time that a pair of JPEG may take
_BOARD_MS = 120.0  # ms that a pair of boards of 640 px may take
_MOST_GB = 1.0  # GB that a pair of 50 MP may take beyond those of the idle process
_ORB_PX = 512  # px, longest side at which the recipes look for keypoints
_LEVEL = 30  # of 255, by which pixels differ in the recipe


def boards(rounds: int) -> list[Row]:
    """Compare a pair of drawn boards, at full resolution and as the vendor does."""
    case = next(islice(families("benchmark")["board, fixed camera"](), 1))
    pair = case.reference, case.shot
    times = interleaved(
        {
            "at full resolution": operation("differences", *pair, fic_settings=_FULL),
            "at 400 px": operation("differences", *pair),
        },
        rounds=rounds,
    )
    reached = times["at full resolution"].cpu_ms
    return [Row("drawn board, 640 px JPEG", _BOARD_MS, reached, unit="ms", times=times)]


def large(rounds: int) -> list[Row]:
    """Compare large pairs at full resolution; the largest ones for memory, too."""
    rows = []
    idle = _resident("VmRSS")
    for size, limit in _LIMITS_S.items():
        for kind in KINDS:
            pair = shot(kind, size).content, shot(kind, size, again=True).content
            call = operation("differences", *pair, fic_settings=_FULL)
            Path("/proc/self/clear_refs").write_text("5", "ascii")  # the most so far begins anew
            times = interleaved({"ours": call}, rounds=rounds)
            taken = _resident("VmHWM") - idle
            seconds = times["ours"].cpu_ms / 1000
            rows.append(Row(f"{size} JPEG, {kind}", limit, seconds, unit="s"))
            if size == "50 MP":
                name = f"{size} JPEG, {kind}: memory beyond the idle process"
                rows.append(Row(name, _MOST_GB, taken, unit="GB"))
    return rows


def _resident(name: str) -> float:
    """Return a value of this process's memory, in GB."""
    found = re.search(
        rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE
    )
    if found is None:
        raise RuntimeError(f"the system does not report {name}")
    return int(found[1]) / 1e6


def recipes(rounds: int) -> list[Row]:
    """Compare with what OpenCV's ORB gives from a full decode, at the default resolution."""
    rows = []
    for kind in KINDS:
        first, second = (shot(kind, "12 MP", again=again).content for again in (False, True))
        for name, limit, what, ours, theirs in (
            (
                "heatMap",
                0.6,
                "full decode, ORB, PNG",
                operation("heatMap", first),
                partial(orb_heat_map, first),
            ),
            (
                "differences",
                0.55,
                "full decodes, ORB, warp, absdiff, contours",
                operation("differences", first, second),
                partial(orb_differences, first, second),
            ),
        ):
            times = interleaved({"ours": ours, what: theirs}, rounds=rounds)
            reached = ratio(times, ["ours"], [what])
            rows.append(Row(f"{name} 12 MP, {kind}, over {what}", limit, reached, times=times))
    return rows


def orb_heat_map(content: bytes) -> bytes:
    """Draw where ORB's keypoints of a file are, as PNG."""
    small = peers.reduced(peers.decoded(content, cv2.IMREAD_COLOR), _ORB_PX)
    heat = np.zeros(small.shape[:2], np.float32)
    for keypoint in cv2.ORB_create(1000).detect(_gray(small), None):
        x, y = keypoint.pt
        heat[int(y), int(x)] += 1
    heat = np.asarray(cv2.GaussianBlur(heat, (0, 0), _ORB_PX / 34), np.float32)
    levels = cv2.convertScaleAbs(heat, alpha=255 / max(float(heat.max()), 1e-9))
    _, encoded = cv2.imencode(".png", cv2.applyColorMap(levels, cv2.COLORMAP_JET))
    return bytes(encoded.tobytes())


def orb_differences(first: bytes, second: bytes) -> int:
    """Align two files by ORB, compare them at full size; return how many outlines there are."""
    images = [peers.decoded(each, cv2.IMREAD_COLOR) for each in (first, second)]
    orb = cv2.ORB_create(1000)
    (points1, bits1), (points2, bits2) = (
        orb.detectAndCompute(_gray(peers.reduced(each, _ORB_PX)), None) for each in images
    )
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(bits1, bits2)
    scale = max(images[0].shape) / _ORB_PX
    source = scale * np.array([points2[each.trainIdx].pt for each in matches], np.float32)
    target = scale * np.array([points1[each.queryIdx].pt for each in matches], np.float32)
    matrix, _ = cv2.findHomography(source, target, cv2.RANSAC, 3.0 * scale)
    height, width = images[0].shape[:2]
    seen = cv2.warpPerspective(images[1], matrix, (width, height))
    gray = cv2.cvtColor(cv2.absdiff(images[0], seen), cv2.COLOR_BGR2GRAY)
    _, mask = cv2.threshold(gray, _LEVEL, 255, cv2.THRESH_BINARY)
    return len(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


def _gray(image: Bgr | Gray) -> Gray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description="Speed of comparisons at full resolution.")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each subject")
    parser.add_argument("--write", action="store_true", help="write into README.md, too")
    asked = parser.parse_args(arguments)
    if not os.environ.items() >= _ONE_THREAD.items():  # libraries read it when they are loaded
        os.environ.update(_ONE_THREAD)
        os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]])  # noqa: S606  (itself)
    keep_memory()
    cv2.setNumThreads(1)
    parts: tuple[Callable[[int], list[Row]], ...] = (boards, large, recipes)
    rows = []
    for part in parts:
        rows += part(asked.rounds)
        print(f"{part.__name__}: {sum(row.met for row in rows)} of {len(rows)}", file=sys.stderr)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    section = "\n\n".join(
        [
            "## Speed at full resolution",
            f"{report.machine()}, load {load}.",
            (
                "`differences` with preset 1, from the files' bytes to those of the reply: one "
                "thread, medians of processor time. Pairs as in [Speed](#speed). Beside other "
                "work, processor time is up to a fifth more, because caches and memory are shared."
            ),
            report.table(HEAD, (row.cells() for row in rows)),
        ]
    )
    print(section)
    if asked.write:
        before = report.README.read_text("utf-8")
        written = report.with_section(before, "speed.full_resolution", section)
        report.README.write_text(written, "utf-8")


if __name__ == "__main__":
    main()
