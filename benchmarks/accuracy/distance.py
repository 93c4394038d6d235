"""Distance: whether copies are distinguished from likenesses, and both from strangers.

``python -m benchmarks.accuracy.distance --set benchmark --pairs 5000``

Copies are made of every photograph by what pictures go through on their way; unrelated pairs are
parts of different photographs. Peers see the same pairs: perceptual hashes (imagehash), the number
of ORB matches, and SSIM.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import Any, NamedTuple, TypeAlias

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import metrics

from benchmarks import report
from benchmarks.accuracy.photographs import Set, photographs
from ltu_compute.kernels.distance import Fingerprint, distance_between
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.types import Bgr

Rng: TypeAlias = np.random.Generator
Floats: TypeAlias = NDArray[np.float64]

MATCH, SIMILAR = 1.0, 1.8
"""Distances at which the service's decision changes."""

FALSE_MATCHES = 0.0005
"""Share of unrelated pairs taken for copies at which methods are compared."""

PERCENTILES = (1, 10, 50, 90, 99)
SENT_SIZE = 1024
"""Longest side of the photographs before anything is done to them, in px."""

DRAWS = 3
"""How often a photograph is used: whole, then parts of it, chosen at random."""

DRAWN_PAIRS = 60
OURS = "this service"
PEERS = ("imagehash", "scikit-image", "pillow")


class Compared(NamedTuple):
    """A pair that was measured: the distance by every method, and how to make it again."""

    kind: str
    distances: dict[str, float]
    source: str
    seed: tuple[int, ...]


class Part(NamedTuple):
    """A photograph (draw 0) or a random part of it of half its area or more."""

    photograph: int
    draw: int


# ------------------------------------------------------------------------------- copies


def _jpeg(image: Bgr, quality: int) -> Bgr:
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _pixels(cv2.imdecode(coded, cv2.IMREAD_COLOR))


def _resized(image: Bgr, scale: float) -> Bgr:
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return _pixels(cv2.resize(image, None, fx=scale, fy=scale, interpolation=flags))


def _cropped(image: Bgr, share: float, rng: Rng) -> Bgr:
    """Cut out a share of the area, of other proportions, anywhere."""
    height, width = image.shape[:2]
    side = share**0.5
    stretch = rng.uniform(max(side, 0.85), min(1 / side, 1 / 0.85))
    across, down = int(width * side * stretch), int(height * side / stretch)
    x = int(rng.integers(0, width - across + 1))
    y = int(rng.integers(0, height - down + 1))
    return image[y : y + down, x : x + across]


def _toned(image: Bgr, *, gain: float = 1, offset: float = 0, gamma: float = 1) -> Bgr:
    levels = np.arange(256) / 255
    table = np.clip((levels**gamma * 255 - 128) * gain + 128 + offset, 0, 255)
    return _pixels(cv2.LUT(image, np.round(table).astype(np.uint8)))


def _captioned(image: Bgr, rng: Rng) -> Bgr:
    """Print one to three lines of text on it."""
    captioned = image.copy()
    height, width = image.shape[:2]
    color = tuple(int(v) for v in rng.integers(0, 256, 3))
    for _ in range(int(rng.integers(1, 4))):
        place = (int(rng.uniform(0, 0.3) * width), int(rng.uniform(0.1, 0.95) * height))
        size = float(rng.uniform(1, 2.5)) * width / 600
        text = "".join(rng.choice(list("ABCDEFGHKMNRSTUX0123456789 "), 14))
        weight = max(1, round(3 * size))
        cv2.putText(captioned, text, place, cv2.FONT_HERSHEY_DUPLEX, size, color, weight)
    return captioned


def _with_logo(image: Bgr, rng: Rng) -> Bgr:
    """Lay a disc with a ring and a bar on it, a quarter to two fifths of its shorter side."""
    stamped = image.copy()
    height, width = image.shape[:2]
    radius = int(rng.uniform(0.12, 0.2) * min(height, width))
    centre = (int(rng.uniform(radius, width - radius)), int(rng.uniform(radius, height - radius)))
    first, second = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(2))
    cv2.circle(stamped, centre, radius, first, -1, cv2.LINE_AA)
    cv2.circle(stamped, centre, int(radius * 0.75), second, max(1, radius // 8), cv2.LINE_AA)
    ends = [(centre[0] + int(sign * radius * 0.5), centre[1]) for sign in (-1, 1)]
    cv2.line(stamped, ends[0], ends[1], second, max(1, radius // 4), cv2.LINE_AA)
    return stamped


def _turned(image: Bgr, angle_deg: float, border: int) -> Bgr:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1)
    return _pixels(
        cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
    )


def _grey(image: Bgr) -> Bgr:
    return _pixels(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def _reposted(image: Bgr, rng: Rng) -> Bgr:
    """Do what happens to a picture that is passed on: cut, reduced, retouched, saved."""
    cut = _cropped(image, rng.uniform(0.6, 0.9), rng)
    toned = _toned(cut, gain=rng.uniform(0.8, 1.2), gamma=rng.uniform(0.75, 1.3))
    return _jpeg(_captioned(_resized(toned, rng.uniform(0.3, 1)), rng), int(rng.integers(30, 80)))


def _pixels(image: Any) -> Bgr:
    return np.asarray(image, np.uint8)


Copying: TypeAlias = Callable[[Bgr, Rng], Bgr]

COPIES: dict[str, Copying] = {
    "JPEG quality 20": lambda image, _: _jpeg(image, 20),
    "JPEG quality 40": lambda image, _: _jpeg(image, 40),
    "JPEG quality 70": lambda image, _: _jpeg(image, 70),
    "JPEG quality 95": lambda image, _: _jpeg(image, 95),
    "resized to 25 %": lambda image, _: _resized(image, 0.25),
    "resized to 25 to 200 %": lambda image, rng: _resized(image, float(2 ** rng.uniform(-2, 1))),
    "cropped to 80 %": lambda image, rng: _cropped(image, 0.8, rng),
    "cropped to 60 %": lambda image, rng: _cropped(image, 0.6, rng),
    "brightness ±60": lambda image, rng: _toned(image, offset=_signed(rng, 20, 60)),
    "contrast 50 to 160 %": lambda image, rng: _toned(image, gain=rng.uniform(0.5, 1.6)),
    "gamma 0.5 to 2": lambda image, rng: _toned(image, gamma=2 ** rng.uniform(-1, 1)),
    "text on it": _captioned,
    "logo on it": _with_logo,
    "turned ±30°, black corners": lambda image, rng: _turned(
        image, _signed(rng, 5, 30), cv2.BORDER_CONSTANT
    ),
    "turned ±30°, reflected corners": lambda image, rng: _turned(
        image, _signed(rng, 5, 30), cv2.BORDER_REFLECT
    ),
    "grey": lambda image, _: _grey(image),
}
"""Copies that shall match, as the service is asked to."""

HARDER_COPIES: dict[str, Copying] = {
    "cut, reduced, toned, captioned, saved": _reposted,
    "cropped to 36 %": lambda image, rng: _cropped(image, 0.36, rng),
    "reduced to 96 px": lambda image, _: _resized(image, 96 / max(image.shape)),
    "blurred by 1 % of the width": lambda image, _: _pixels(
        cv2.GaussianBlur(image, (0, 0), image.shape[1] / 100)
    ),
    "turned 90°": lambda image, _: np.rot90(image).copy(),
    "mirrored": lambda image, _: image[:, ::-1].copy(),
}
"""Copies nothing is promised about."""


def _signed(rng: Rng, low: float, high: float) -> float:
    return float(rng.choice([-1, 1]) * rng.uniform(low, high))


# ------------------------------------------------------------------------------ similar


def _halves(image: Bgr, rng: Rng) -> tuple[Bgr, Bgr]:
    """Cut a photograph into two parts that share nothing."""
    if rng.random() < 0.5:
        middle = image.shape[1] // 2
        return image[:, :middle], image[:, middle:]
    middle = image.shape[0] // 2
    return image[:middle], image[middle:]


def _parts(rng: Rng) -> tuple[Bgr, Bgr]:
    """Draw two machine parts: same plate, same materials, other holes."""
    table, metal, dark = (rng.integers(low, low + 90, 3) for low in (140, 70, 0))
    corner = rng.integers((40, 40), (90, 70))

    def drawn() -> Bgr:
        image = np.full((360, 480, 3), table, np.uint8)
        opposite = (480 - corner[0], 360 - corner[1])
        cv2.rectangle(image, corner.tolist(), opposite, metal.tolist(), -1)
        for _ in range(7):
            centre = rng.integers(corner + 35, np.array(opposite) - 35).tolist()
            cv2.circle(image, centre, int(rng.integers(6, 32)), dark.tolist(), -1, cv2.LINE_AA)
        noise = rng.normal(0, 3, image.shape)
        return _pixels(np.clip(cv2.GaussianBlur(image, (0, 0), 0.8) + noise, 0, 255))

    return drawn(), drawn()


def _labels(rng: Rng) -> tuple[Bgr, Bgr]:
    """Draw two labels of one layout: other article, other text, other bars."""
    paper, ink = rng.integers(200, 256, 3), rng.integers(0, 90, 3)
    bar = rng.integers(0, 200, 3).tolist()
    letters = list("ABCDEFGHIJKLMNOPRSTUVWXYZ0123456789")

    def drawn() -> Bgr:
        image = np.full((320, 480, 3), paper, np.uint8)
        cv2.rectangle(image, (0, 0), (480, 60), bar, -1)
        for row, (size, length) in enumerate([(1.2, 14), (0.8, 26), (0.8, 26), (0.8, 26)]):
            text = "".join(rng.choice(letters, length))
            place = (20, (42, 100, 135, 170)[row])
            color = (255, 255, 255) if row == 0 else ink.tolist()
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_DUPLEX, size, color, 1, cv2.LINE_AA)
        x = 20
        while x < 440:
            width = int(rng.integers(2, 9))
            cv2.rectangle(image, (x, 200), (x + width - 1, 300), ink.tolist(), -1)
            x += width + int(rng.integers(2, 9))
        return image

    return drawn(), drawn()


DRAWN: dict[str, Callable[[Rng], tuple[Bgr, Bgr]]] = {
    "parts of one kind, other holes": _parts,
    "labels of one layout, other text": _labels,
}
HALVES = "parts of one photograph that share nothing"


# ---------------------------------------------------------------------------- measuring


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture, as every method sees it."""

    fingerprint: Fingerprint
    hashes: dict[str, Any]
    orb: NDArray[np.uint8] | None
    gray: NDArray[np.uint8]


def _seen(image: Bgr) -> Seen:
    scale = WORKING_SIZE / max(image.shape[:2])
    fitted = _resized(image, scale) if scale < 1 else image
    picture = Image.fromarray(fitted[..., ::-1])
    gray = cv2.cvtColor(fitted, cv2.COLOR_BGR2GRAY)
    return Seen(
        Fingerprint.from_image(fitted),
        {
            "imagehash phash": imagehash.phash(picture),
            "imagehash dhash": imagehash.dhash(picture),
            "imagehash colorhash": imagehash.colorhash(picture),
        },
        cv2.ORB_create(1000).detectAndCompute(gray, None)[1],
        _pixels(cv2.resize(gray, (256, 256), interpolation=cv2.INTER_AREA)),
    )


def _distances(reference: Seen, query: Seen) -> dict[str, float]:
    by_hash = {
        name: float(hashed - query.hashes[name]) for name, hashed in reference.hashes.items()
    }
    return {
        OURS: distance_between(reference.fingerprint, query.fingerprint).distance,
        **by_hash,
        "ORB matches": -float(_orb_matches(reference, query)),
        "SSIM": -_structural_similarity(reference.gray, query.gray),
    }


def _structural_similarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    compare: Callable[..., Any] = metrics.structural_similarity
    return float(compare(first, second))


def _orb_matches(reference: Seen, query: Seen) -> int:
    """Count matches that pass Lowe's ratio test."""
    if reference.orb is None or query.orb is None or min(len(reference.orb), len(query.orb)) < 2:
        return 0
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    nearest = matcher.knnMatch(reference.orb, query.orb, k=2)
    return sum(first.distance < 0.75 * second.distance for first, second in nearest)


def _copies_of(work: tuple[Set, int, int]) -> list[Compared]:
    """Measure all copies of one photograph and of parts of it."""
    chosen, index, seed = work
    name = photographs(chosen)[index].name
    found = []
    for draw in range(DRAWS):
        image = _part(chosen, Part(index, draw), seed)
        original = _seen(image)
        for number, (kind, copying) in enumerate((COPIES | HARDER_COPIES).items()):
            origin = (seed, index, draw, number)
            copy = copying(image, np.random.default_rng(origin))
            found.append(Compared(kind, _distances(original, _seen(copy)), name, origin))
    return found


def _similar_to(work: tuple[Set, int, int]) -> list[Compared]:
    """Measure pairs of parts of one photograph that share nothing."""
    chosen, index, seed = work
    photograph = photographs(chosen)[index]
    image = photograph.read(SENT_SIZE)
    found = []
    for draw in range(DRAWS):
        origin = (seed, 2, index, draw)
        rng = np.random.default_rng(origin)
        first, second = _halves(_cropped(image, 0.8, rng), rng)
        found.append(
            Compared(HALVES, _distances(_seen(first), _seen(second)), photograph.name, origin)
        )
    return found


def _drawn(work: tuple[str, int, int]) -> list[Compared]:
    """Measure a drawn pair."""
    kind, number, seed = work
    origin = (seed, 3, list(DRAWN).index(kind), number)
    first, second = DRAWN[kind](np.random.default_rng(origin))
    return [Compared(kind, _distances(_seen(first), _seen(second)), "drawn", origin)]


def _unrelated_pairs(count: int, sources: int, seed: int) -> list[tuple[Part, Part]]:
    """Choose distinct pairs of different photographs; whole photographs before parts of them."""
    of_photographs = list(combinations(range(sources), 2))
    draws = 1 + math.ceil(math.sqrt(count / len(of_photographs)))
    whole = [(Part(a, 0), Part(b, 0)) for a, b in of_photographs]
    parts = [
        (Part(a, i), Part(b, j))
        for a, b in of_photographs
        for i, j in product(range(draws), repeat=2)
        if i or j
    ]
    rng = np.random.default_rng((seed, 4))
    rng.shuffle(whole)
    rng.shuffle(parts)
    return sorted([*whole, *parts][:count])


@lru_cache(maxsize=512)
def _seen_part(chosen: Set, part: Part, seed: int) -> Seen:
    return _seen(_part(chosen, part, seed))


def _part(chosen: Set, part: Part, seed: int) -> Bgr:
    image = photographs(chosen)[part.photograph].read(SENT_SIZE)
    if part.draw == 0:
        return image
    rng = np.random.default_rng((seed, 5, *part))
    return _cropped(image, rng.uniform(0.5, 0.95), rng)


def _unrelated(work: tuple[Set, Sequence[tuple[Part, Part]], int]) -> list[Compared]:
    chosen, pairs, seed = work
    names = [photograph.name for photograph in photographs(chosen)]
    return [
        Compared(
            "unrelated",
            _distances(_seen_part(chosen, first, seed), _seen_part(chosen, second, seed)),
            f"{names[first.photograph]}, {names[second.photograph]}",
            (*first, *second),
        )
        for first, second in pairs
    ]


def _run(
    function: Callable[[Any], list[Compared]], works: Iterable[Any], jobs: int
) -> list[Compared]:
    return [one for found in _mapped(function, works, jobs) for one in found]


def _mapped(
    function: Callable[[Any], list[Compared]], works: Iterable[Any], jobs: int
) -> Iterator[list[Compared]]:
    cv2.setNumThreads(1)
    if jobs == 1:
        yield from map(function, works)
        return
    with ProcessPoolExecutor(jobs, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(function, works)


# ------------------------------------------------------------------------------- report


def area_under_curve(copies: Floats, strangers: Floats) -> float:
    """Return the chance that a copy is nearer than a stranger; a tie counts half."""
    ordered = np.sort(strangers)
    farther = len(ordered) - np.searchsorted(ordered, copies, side="right")
    tied = np.searchsorted(ordered, copies, side="right") - np.searchsorted(ordered, copies)
    return float((farther + 0.5 * tied).mean() / len(ordered))


def recall_at(copies: Floats, strangers: Floats, false_matches: float) -> float:
    """Return the share of copies nearer than all but a share of the strangers."""
    allowed = int(false_matches * len(strangers))
    return float((copies < np.sort(strangers)[allowed]).mean())


def _ours(compared: Iterable[Compared]) -> Floats:
    return np.array([one.distances[OURS] for one in compared])


def _row(kind: str, compared: Sequence[Compared]) -> tuple[object, ...]:
    distances = _ours(compared)
    return (
        kind,
        len(compared),
        float((distances < MATCH).mean()),
        float(((distances >= MATCH) & (distances <= SIMILAR)).mean()),
        float((distances > SIMILAR).mean()),
        float(distances.mean()),
        *(float(value) for value in np.percentile(distances, PERCENTILES)),
    )


def _of_kinds(compared: Sequence[Compared], kinds: Iterable[str]) -> list[tuple[object, ...]]:
    return [_row(kind, [one for one in compared if one.kind == kind]) for kind in kinds]


def _written(
    copies: Sequence[Compared], similar: Sequence[Compared], unrelated: Sequence[Compared]
) -> str:
    asked = [one for one in copies if one.kind in COPIES]
    head = (
        "pairs of",
        "n",
        "Match",
        "Similar",
        "No match",
        "mean",
        *(f"p{p}" for p in PERCENTILES),
    )
    by_kind = _of_kinds(copies, [*COPIES, *HARDER_COPIES])
    by_likeness = _of_kinds(similar, [HALVES, *DRAWN])
    strangers = _row("unrelated photographs", unrelated)
    together = [_row("**all copies asked for**", asked), _row("**all similar**", similar)]
    peers = []
    for method in unrelated[0].distances:
        near, far = (
            np.array([one.distances[method] for one in group]) for group in (asked, unrelated)
        )
        peers.append((method, area_under_curve(near, far), recall_at(near, far, FALSE_MATCHES)))
    false = int((_ours(unrelated) < MATCH).sum())
    return f"""## Distance

Copies of every photograph at {SENT_SIZE} px and of {DRAWS - 1} parts of it; similar pairs; and
unrelated ones, which are whole photographs or parts of half their area or more, of different
photographs. All pairs are distinct. Decision: Match below {MATCH}, Similar up to {SIMILAR}.

{report.table(head, [*by_kind[: len(COPIES)], together[0]])}

Copies about which nothing is promised:

{report.table(head, by_kind[len(COPIES) :])}

Similar and unrelated ({false} false matches of {len(unrelated)}):

{report.table(head, [*by_likeness, together[1], strangers])}

The same copies (those asked for) against the same unrelated pairs, by every method; recall at a
share of {FALSE_MATCHES} of the unrelated pairs taken for copies:

{report.table(("method", "AUC", "recall"), peers)}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and publish."""
    asked = report.options(
        "Distance of copies, similar and unrelated pictures.", pairs=5000, arguments=arguments
    )
    count = len(photographs(asked.chosen))
    every = [(asked.chosen, index, asked.seed) for index in range(count)]
    copies = _run(_copies_of, every, asked.jobs)
    drawn = [(kind, number, asked.seed) for kind in DRAWN for number in range(DRAWN_PAIRS)]
    similar = _run(_similar_to, every, asked.jobs) + _run(_drawn, drawn, asked.jobs)
    pairs = _unrelated_pairs(asked.pairs, count, asked.seed)
    works = [
        (asked.chosen, pairs[start : start + 250], asked.seed)
        for start in range(0, len(pairs), 250)
    ]
    unrelated = _run(_unrelated, works, asked.jobs)
    report.publish("distance", _written(copies, similar, unrelated), asked, peers=PEERS)
    missed = [one for one in copies if one.kind in COPIES and one.distances[OURS] >= MATCH]
    for one in missed:
        print("missed:", one.kind, one.source, round(one.distances[OURS], 3))
    nearest = sorted(unrelated, key=lambda one: one.distances[OURS])[:20]
    for one in nearest[:5]:
        print("nearest unrelated:", one.source, round(one.distances[OURS], 3))
    if asked.save is not None:
        _save_failures(asked, missed, nearest)


def _save_failures(
    asked: report.Options, missed: Sequence[Compared], nearest: Sequence[Compared]
) -> None:
    """Show copies that were missed and the strangers that were nearest, pair by pair."""
    if asked.save is None:
        return
    tiles = []
    for one in missed[:20]:
        image = _part(asked.chosen, Part(*one.seed[1:3]), asked.seed)
        copy = COPIES[one.kind](image, np.random.default_rng(one.seed))
        kind = one.kind.encode("ascii", "ignore").decode()
        tiles += [(one.source, image), (f"{kind}: {one.distances[OURS]:.2f}", copy)]
    report.save_contact_sheet(asked.save / "distance-missed.jpg", tiles)
    tiles = []
    for one in nearest:
        parts = Part(*one.seed[:2]), Part(*one.seed[2:])
        tiles += [
            (f"{one.distances[OURS]:.2f}", _part(asked.chosen, part, asked.seed)) for part in parts
        ]
    report.save_contact_sheet(asked.save / "distance-nearest-unrelated.jpg", tiles)


if __name__ == "__main__":
    main()
