"""Damaged files by the thousand: every one is read or refused, none ever fails.

`benchmarks/stress/hostile.py` sends more of them, by every way in, to a service in its own
processes.
"""

import io
from typing import Any

import pytest

from ltu_compute.errors import ServiceError, TooManyPixels
from ltu_compute.image import Image
from tests.support import hostile
from tests.support.client import Caller
from tests.support.timing import takes_less

LIMIT = 1_000_000
BOMBS = hostile.bombs()


def test_the_files_are_the_same_on_every_run_and_all_different() -> None:
    once, again = (list(hostile.files(300)) for _ in range(2))
    assert once == again
    assert len({file.content for file in once}) > 280


def test_every_kind_of_damage_is_among_them() -> None:
    ways = {file.name.rpartition(", ")[2] for file in hostile.files(2_000)}
    everything = {**hostile.ANY, **{k: v for d in hostile.OF_FORMAT.values() for k, v in d.items()}}
    assert ways == set(everything)


def test_decoding() -> None:
    """Some are read; then they have as many pixels as announced."""
    outcomes = {"read": 0, "refused": 0}
    for file in hostile.files(1_500, seed=2):
        try:
            image = Image.from_bytes(file.content, max_pixels=LIMIT)
            assert image.full().shape == (image.height, image.width, 3), file.name
            assert image.mask().shape == (image.height, image.width), file.name
            assert max(image.fit_gray(16).shape) <= 16, file.name
            outcomes["read"] += 1
        except ServiceError as error:
            assert error.parameter == "image", file.name  # noqa: PT017  (it need not be refused)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 200


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_from_the_header(bomb: str) -> None:
    def refuse() -> None:
        with pytest.raises(TooManyPixels):
            Image.from_bytes(BOMBS[bomb], max_pixels=50_000_000)

    assert takes_less(0.1, refuse)


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        ("edges", ("image",)),
        ("colorPalette", ("image",)),
        ("imageQuality", ("image",)),
        ("differences", ("image1", "image2", "image1_roi")),
    ],
)
def test_operations(call: Caller, operation: str, names: tuple[str, ...]) -> None:
    """Each file in place of each image: an answer, or an error about that image."""
    whole = hostile.images.png(hostile.images.scene(64, 48))
    for file in hostile.files(40, seed=3):
        for name in names:
            parts: dict[str, Any] = {n: (io.BytesIO(whole), n) for n in names[:2]}
            parts[name] = (io.BytesIO(file.content), name)
            answer = call.post(operation, data=parts)
            assert answer.status_code in {200, 400, 413, 415, 422}, (file.name, answer.text)
            named = {problem["parameter"] for problem in answer.json.get("errors", ())}
            assert named <= {*names, ""}, (file.name, answer.text)
