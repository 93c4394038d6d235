"""Parting pictures: those that are learnt from, and those that are held out to measure on."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

HELD_OUT = 0.25  # share of the pictures of a class that are measured on
LEAST_HELD_OUT = 1  # pictures of each class
SALT = "ltu-compute held out"  # so that the order is no other hash's


def order_of(digest: str) -> str:
    """Return what pictures are put in order by: a hash, as good as random.

    Parameters
    ----------
    digest : str
        Of the picture's file. Two pictures of the same bytes have the same place.
    """
    return hashlib.sha256(f"{SALT}{digest}".encode()).hexdigest()


def held_out_by_label(digests: Sequence[str], labels: Sequence[int]) -> list[bool]:
    """Return which labelled pictures are held out: a quarter of each class, at least one.

    Parameters
    ----------
    digests : sequence of str
        Of the pictures' files.
    labels : sequence of int
        Their classes.
    """
    held = [False] * len(labels)
    by_label: dict[int, list[int]] = {}
    for index in sorted(range(len(labels)), key=lambda i: order_of(digests[i])):
        by_label.setdefault(labels[index], []).append(index)
    for members in by_label.values():
        count = max(LEAST_HELD_OUT, round(HELD_OUT * len(members)))
        for index in members[: min(count, len(members) - 1)]:
            held[index] = True
    return held


def held_out_by_boxes(digests: Sequence[str], classes: Sequence[Sequence[int]]) -> list[bool]:
    """Return which pictures with boxes are held out.

    A quarter of the boxes of each class, as far as whole pictures allow; never more than half of
    a class, and no class's only picture.

    Parameters
    ----------
    digests : sequence of str
        Of the pictures' files.
    classes : sequence of sequence of int
        For each picture, the class of every box in it; none: a picture with nothing in it.
    """
    totals = Counter(label for boxes in classes for label in boxes)
    wanted = {label: math.ceil(HELD_OUT * count) for label, count in totals.items()}
    most = {label: count // 2 for label, count in totals.items()}
    pictures = Counter(label for boxes in classes for label in set(boxes))
    taken: Counter[int] = Counter()
    held = [False] * len(classes)
    empty = [index for index, boxes in enumerate(classes) if not boxes]
    by_order = sorted(range(len(classes)), key=lambda i: order_of(digests[i]))
    for index in by_order:
        counts = Counter(classes[index])
        if not counts:
            continue
        is_wanted = any(taken[label] < wanted[label] for label in counts)
        fits = all(
            taken[label] + count <= most[label] and pictures[label] > 1
            for label, count in counts.items()
        )
        if is_wanted and fits:
            held[index] = True
            taken.update(counts)
            for label in counts:
                pictures[label] -= 1
    empty_order = [index for index in by_order if index in set(empty)]
    for index in empty_order[: round(HELD_OUT * len(empty))]:
        held[index] = True
    return held


def folds(digests: Sequence[str], labels: Sequence[int], count: int) -> list[int]:
    """Return the fold of each picture, 0 to `count` - 1: classes spread evenly, by hash."""
    fold = [0] * len(labels)
    seen: Counter[int] = Counter()
    for index in sorted(range(len(labels)), key=lambda i: order_of(digests[i])):
        fold[index] = seen[labels[index]] % count
        seen[labels[index]] += 1
    return fold
