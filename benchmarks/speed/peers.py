"""What others take for the same: libraries, tools, and the recipes that one finds first.

Python peers that this project does not depend on live in a virtual environment of their own,
`FOLDER`: one of them would replace this project's OpenCV. ``python -m benchmarks.speed.peers``
installs them.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from skimage import color, feature, filters, io, measure, morphology

from benchmarks.accuracy import peers
from benchmarks.speed.timing import Spent
from ltu_compute.kernels.types import Bgr, Gray, Matrix

FOLDER = peers.FOLDER / "speed"

PACKAGES = MappingProxyType({"Pylette": "6.0.0", "colorthief": "0.2.1", "scikit-learn": "1.9.1"})
"""Python peers and their versions."""


def installed() -> None:
    """Install the peers, if they are not there in these versions.

    Raises
    ------
    subprocess.CalledProcessError
        If one cannot be installed.
    """
    peers.installed()
    wanted = json.dumps(dict(PACKAGES))
    done = FOLDER / ".installed"
    if done.exists() and done.read_text("utf-8") == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    pip = [_python(), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    named = [f"{name}=={version}" for name, version in PACKAGES.items()]
    subprocess.run([*pip, *named], check=True)
    done.write_text(wanted, "utf-8")


def versions() -> dict[str, str]:
    """Return the peers and their versions."""
    return {**PACKAGES, "odiff-bin": peers.NPM_PACKAGES["odiff-bin"]}


def _python() -> str:
    return str(FOLDER / "bin" / "python")


@cache
def _worker() -> subprocess.Popen[str]:
    """Start the process of the Python peers once; it ends with this one."""
    program = Path(__file__).with_name("peer_worker.py")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.Popen(
        [_python(), str(program)],
        env={**os.environ, **threads},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def palette(peer: str, path: Path) -> tuple[Spent, list[list[int]]]:
    """Let a Python peer find eight colours.

    Parameters
    ----------
    peer : str
        A key of `PACKAGES`.
    path : Path
        The image's file.

    Returns
    -------
    Spent
        What it took, reading the file included.
    list of list of int
        The colours: red, green, blue.
    """
    process = _worker()
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the peers were started without pipes")
    process.stdin.write(json.dumps([peer, str(path)]) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"the peers ended: {process.wait()}")
    spent, colors = json.loads(answer)
    return Spent(*spent), colors


def odiff(first: Path, second: Path) -> Callable[[], object]:
    """Return a call of odiff on two files, its picture of the differences included."""
    output = FOLDER / "odiff.png"
    found = sorted((peers.FOLDER / "node_modules" / "@odiff").glob("*/odiff"))
    if not found:
        raise RuntimeError(
            f"odiff is not in {peers.FOLDER}: run python -m benchmarks.accuracy.peers"
        )
    command = [str(found[0]), str(first), str(second), str(output)]

    def call() -> None:
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode not in {0, 22}:
            raise RuntimeError(f"odiff failed: {ended.returncode}, {ended.stderr!r}")

    return call


# --- recipes with OpenCV -----------------------------------------------------------------------


def decoded(content: bytes, flags: int) -> Bgr:
    """Return what `cv2.imdecode` makes of a file."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None:
        raise ValueError("not an image")
    return np.asarray(pixels, np.uint8)


def reduced(image: Bgr | Gray, longest: int) -> Bgr | Gray:
    """Return an image of so many px at the longest side, averaged from the full one."""
    scale = longest / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def sift_homography(first: bytes, second: bytes, longest: int = 512) -> Matrix:
    """Align two files by SIFT, the ratio test and RANSAC, from a full decode each."""
    sift = cv2.SIFT_create(1000)
    grays = [reduced(decoded(each, cv2.IMREAD_GRAYSCALE), longest) for each in (first, second)]
    (points1, descriptors1), (points2, descriptors2) = (
        sift.detectAndCompute(gray, None) for gray in grays
    )
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors1, descriptors2, k=2)
    good = [best for best, other in pairs if best.distance < 0.75 * other.distance]
    source = np.array([points1[match.queryIdx].pt for match in good], np.float32)
    target = np.array([points2[match.trainIdx].pt for match in good], np.float32)
    matrix, _ = cv2.findHomography(source, target, cv2.RANSAC, 3.0)
    return np.asarray(matrix, np.float64)


def plain_differences(first: bytes, second: bytes) -> int:
    """Compare two files as they lie, at full size; return how many outlines there are."""
    images = [decoded(each, cv2.IMREAD_COLOR) for each in (first, second)]
    gray = cv2.cvtColor(cv2.absdiff(*images), cv2.COLOR_BGR2GRAY)
    _, mask = cv2.threshold(gray, 30, 255, cv2.THRESH_BINARY)
    return len(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


# --- recipes with scikit-image -----------------------------------------------------------------


def skimage_edges(path: Path) -> bytes:
    """Canny's edges of a file, as PNG."""
    gray = color.rgb2gray(io.imread(path))
    return _png(feature.canny(gray))


def skimage_object(path: Path) -> bytes:
    """Otsu's object in the brightness, holes filled and dirt taken away, as PNG."""
    value = color.rgb2hsv(io.imread(path))[..., 2]
    bright = value > filters.threshold_otsu(value)
    smallest = value.size // 10_000
    clean = morphology.remove_small_holes(bright, max_size=smallest)
    return _png(morphology.remove_small_objects(clean, max_size=smallest))


def skimage_contours(path: Path) -> int:
    """Outlines at Otsu's level of the brightness; return how many."""
    value = color.rgb2hsv(io.imread(path))[..., 2]
    level = filters.threshold_otsu(value)
    return len(measure.find_contours(value, level))


def skimage_quality(path: Path) -> float:
    """Exposure, sharpness and noise with scikit-image and NumPy; two masks as PNG."""
    gray = color.rgb2gray(io.imread(path)) * 255
    counts, _ = np.histogram(gray, bins=255, range=(0, 255))
    masks = [_png(gray < 25.5), _png(gray > 229.5)]
    laplacian = np.abs(filters.laplace(gray))
    sharp = np.abs(2 * gray[1:-1] - gray[:-2] - gray[2:]).mean()
    sharp += np.abs(2 * gray[:, 1:-1] - gray[:, :-2] - gray[:, 2:]).mean()
    noise = np.abs(filters.laplace(filters.laplace(gray))).mean()
    return float(counts.sum() + len(masks) + laplacian.var() + sharp + noise + gray.std())


def _png(mask: object) -> bytes:
    _, encoded = cv2.imencode(".png", np.asarray(mask, np.uint8) * 255)
    return bytes(encoded.tobytes())


def mean_difference(image: Bgr, colors: list[list[int]]) -> float:
    """Mean CIEDE2000 between the pixels of an image and the nearest of some colours.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        BGR.
    colors : list of list of int
        Red, green, blue.
    """
    pixels = color.rgb2lab(image[..., ::-1].reshape(-1, 1, 3))
    centers = color.rgb2lab(np.array(colors, np.uint8)[None])
    differences = color.deltaE_ciede2000(pixels, centers)
    return float(differences.min(axis=1).mean())


def processor() -> str:
    """Tell how many processors there are, how fast they say they are, and how busy."""
    described = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    speed = re.search(r"^cpu MHz\s*:\s*([0-9]+)", described, re.MULTILINE)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{speed[1]} MHz, load {load}" if speed else f"load {load}"


if __name__ == "__main__":
    installed()
