"""A short run of every fuzzing target: its corpus, and what is made from it."""

import random
from collections.abc import Callable

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, seeds
from tests.support import hostile

ROUNDS = 400


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str) -> None:
    for content in seeds(target):
        TARGETS[target](content)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs_raise_declared_errors_only(target: str) -> None:
    beginnings, ways = seeds(target), list(hostile.ANY.values())
    for number in range(ROUNDS):
        rng = random.Random(f"{target} {number}")
        content = rng.choice(beginnings)
        for _ in range(rng.choice((1, 2, 4))):
            way: Callable[[random.Random, bytes], bytes] = rng.choice(ways)
            content = way(rng, content or b"\0")[:20_000]
        TARGETS[target](content)


def test_the_corpus_is_of_targets_that_are_there() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS)
