"""Palettes of other libraries, in a process of their own: run by `benchmarks.speed.peers`.

Reads a peer's name and an image's path per line, as JSON, and answers each with a line: the time
that the call took by the clock and of the processor, in s, and the colours, red, green and blue.
"""

import json
import sys
import time
from collections.abc import Callable

import colorthief
import cv2
import numpy as np
import pylette
from sklearn.cluster import KMeans

_COLORS = 8
_LONGEST = 512  # px, to which everybody reduces a picture before k-means on its pixels

Colors = list[list[int]]


def _pylette(path: str) -> Colors:
    palette = pylette.extract_colors(image=path, palette_size=_COLORS)
    return [[int(level) for level in color.rgb] for color in palette.colors]


def _colorthief(path: str) -> Colors:
    found = colorthief.ColorThief(path).get_palette(color_count=_COLORS)
    return [list(color) for color in found]


def _scikit_learn(path: str) -> Colors:
    image = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    scale = _LONGEST / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    fitted = KMeans(_COLORS, random_state=0).fit(image.reshape(-1, 3).astype(np.float32))
    return np.rint(fitted.cluster_centers_).astype(int).tolist()  # type: ignore[no-any-return]  # no types


_PEERS: dict[str, Callable[[str], Colors]] = {
    "Pylette": _pylette,
    "colorthief": _colorthief,
    "scikit-learn": _scikit_learn,
}

if __name__ == "__main__":
    cv2.setNumThreads(1)
    for line in sys.stdin:
        name, path = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        colors = _PEERS[name](path)
        spent = [time.perf_counter() - wall, time.process_time() - cpu]
        sys.stdout.write(json.dumps([spent, colors]) + "\n")
        sys.stdout.flush()
