"""Measure `alignmentMatrix`: how exact a matrix is, and that none is returned that is wrong.

Each pair is a photograph and the same photograph again through a known homography: other light,
blur, noise and JPEG, a tenth of it replaced, on another photograph as its background. The error of
a matrix is the mean distance, over what both images show, between where it puts a point and where
the point is, in px of images whose longest side is 1600 px.

    python -m benchmarks.accuracy.alignment --set benchmark --pairs 100
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.accuracy.photographs import Photograph, Set, photographs
from ltu_compute.kernels import alignment as kernel
from ltu_compute.kernels.homography import map_points, rescale_homography
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.types import Gray, Matrix, Size

SIZE = 1600
SUCCESS_PX = 5.0
PEER_FEATURES = 1000
REPLACED = 0.1  # share of the scene


class Pair(NamedTuple):
    """Two images and the homography between them, if there is one."""

    name: str
    gray1: Gray
    gray2: Gray
    truth: Matrix | None


class Answer(NamedTuple):
    """What a method said about a pair."""

    group: str
    number: int
    name: str
    method: str
    error_px: float | None  # None: refused; infinite: there is no right matrix
    seconds: float  # of processor time


def error_px(matrix: Matrix, pair: Pair) -> float:
    """Return the mean error over what both images show, in px at `SIZE`."""
    if pair.truth is None:
        return np.inf
    size1, size2 = _size(pair.gray1), _size(pair.gray2)
    x, y = np.meshgrid(np.linspace(0, size1.width - 1, 60), np.linspace(0, size1.height - 1, 60))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    seen = map_points(points, pair.truth)
    both = ((seen >= 0) & (seen <= [size2.width - 1, size2.height - 1])).all(axis=1)
    gap = np.linalg.norm(map_points(points[both], matrix) - seen[both], axis=1)
    return float(gap.mean()) * SIZE / max(size2)


# --- pairs -------------------------------------------------------------------------------------


class Scenes:
    """Photographs to make pairs of, grey, each read once."""

    def __init__(self, chosen: list[Photograph]) -> None:
        self.names = [each.name for each in chosen]
        self._chosen = chosen
        self._read: dict[tuple[int, int], Gray] = {}

    def __len__(self) -> int:
        return len(self._chosen)

    def gray(self, index: int, longest: int) -> Gray:
        """Return a photograph at a size; small ones are enlarged."""
        key = index % len(self), longest
        if key not in self._read:
            gray = cv2.cvtColor(self._chosen[key[0]].read(), cv2.COLOR_BGR2GRAY)
            scale = longest / max(gray.shape)
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            self._read[key] = np.asarray(
                cv2.resize(gray, None, fx=scale, fy=scale, interpolation=how)
            )
        return self._read[key]


View = Callable[[np.random.Generator, Size], Matrix]


def hand_held(rng: np.random.Generator, size: Size) -> Matrix:
    """Draw a view: up to 30 degrees, 0.7 to 1.35 scale, corners jittered by up to 8 %."""
    return _view(rng, size, rng.uniform(-30, 30), np.exp(rng.uniform(np.log(0.7), np.log(1.35))))


def turned(degrees: float) -> View:
    """Draw views turned by about `degrees`."""
    return lambda rng, size: _view(rng, size, degrees + rng.uniform(-5, 5), rng.uniform(0.9, 1.1))


def scaled(factor: float) -> View:
    """Draw views at about `factor` times the size."""
    return lambda rng, size: _view(
        rng, size, rng.uniform(-10, 10), factor * rng.uniform(0.95, 1.05), jitter=0.04
    )


def panned(rng: np.random.Generator, size: Size) -> Matrix:
    """Draw a view that shares 15 to 35 % of the scene."""
    view = _view(rng, size, rng.uniform(-8, 8), rng.uniform(0.9, 1.1), jitter=0.03)
    away = rng.uniform(0.65, 0.85) * size.width * rng.choice([-1, 1])
    return np.array([[1, 0, away], [0, 1, 0], [0, 0, 1.0]]) @ view


def oblique(degrees: float) -> View:
    """Draw views of a pinhole camera that looks at the scene from `degrees` off its normal."""

    def draw(rng: np.random.Generator, size: Size) -> Matrix:
        focal = 1.3 * max(size)
        tilt, heading = np.deg2rad(degrees), rng.uniform(0, 2 * np.pi)
        axis = np.array([np.cos(heading), np.sin(heading), 0.0]) * tilt
        rotation, _ = cv2.Rodrigues(axis)
        centred = np.array([[1, 0, -size.width / 2], [0, 1, -size.height / 2], [0, 0, 1.0]])
        plane = np.column_stack([rotation[:, 0], rotation[:, 1], [0, 0, 1.15 * focal]])
        pinhole = np.array([[focal, 0, size.width / 2], [0, focal, size.height / 2], [0, 0, 1.0]])
        matrix = pinhole @ plane @ centred
        return np.asarray(matrix / matrix[2, 2], np.float64)

    return draw


def _view(
    rng: np.random.Generator, size: Size, turn_deg: float, scale: float, jitter: float = 0.08
) -> Matrix:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(size) / 2
    seen = (corners - middle) @ turn.T * scale + middle
    seen += rng.uniform(-jitter, jitter, (4, 2)) * size
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    return np.asarray(matrix, np.float64)


def seen_again(
    scenes: Scenes,
    index: int,
    rng: np.random.Generator,
    view: View,
    *,
    longest: int = SIZE,
    replaced: float = REPLACED,
    mirrored: bool = False,
) -> Pair:
    """Make a pair of one photograph."""
    scene = scenes.gray(index, longest)
    if mirrored:
        scene = np.ascontiguousarray(scene[:, ::-1])
    size = _size(scene)
    truth = view(rng, size)
    changed = _with_replacements(scene, scenes, index, rng, replaced)
    # What is finer than the second image can show is smoothed away, as a lens does.
    scale = np.sqrt(abs(np.linalg.det(truth[:2, :2])))
    if scale < 0.8:
        changed = cv2.GaussianBlur(changed, (0, 0), 0.5 * np.sqrt(scale**-2 - 1))
    behind = scenes.gray(index + int(rng.integers(1, len(scenes))), longest)
    ground = np.asarray(cv2.resize(behind, size, interpolation=cv2.INTER_AREA), np.uint8)
    second = cv2.warpPerspective(
        changed, truth, size, ground, cv2.INTER_CUBIC, borderMode=cv2.BORDER_TRANSPARENT
    )
    first = scenes.gray(index, longest)
    return Pair(
        scenes.names[index % len(scenes)],
        _photographed(first, rng, 0.5),
        _photographed(np.asarray(second, np.uint8), rng, 1.0),
        None if mirrored else truth,
    )


def _with_replacements(
    scene: Gray, scenes: Scenes, index: int, rng: np.random.Generator, share: float
) -> Gray:
    """Put parts of another photograph into a scene until `share` of it is replaced."""
    other = scenes.gray(index + int(rng.integers(1, len(scenes))), max(scene.shape))
    height, width = scene.shape
    other = np.asarray(cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    if share >= 0.5:  # one side of it
        cut = round(share * width)
        mask[:, slice(cut) if rng.random() < 0.5 else slice(width - cut, width)] = 255
    while cv2.countNonZero(mask) < share * mask.size:
        middle = rng.uniform(0, 1, 2) * (width, height)
        axes = rng.uniform(0.05, 0.15, 2) * max(scene.shape)
        box = (tuple(middle), tuple(2 * axes), rng.uniform(0, 180))
        cv2.ellipse(mask, box, 255, -1)
    return np.where(mask > 0, other, scene)


def _photographed(gray: Gray, rng: np.random.Generator, strength: float) -> Gray:
    """Light, blur, noise and JPEG of one shot."""
    height, width = gray.shape
    levels = np.linspace(0, 1, 256) ** np.exp(strength * rng.uniform(-0.25, 0.25))
    levels = 255 * levels * (1 + strength * rng.uniform(-0.25, 0.2))
    lit = cv2.LUT(gray, levels.astype(np.float32))
    slope = strength * rng.uniform(-0.2, 0.2, 2)
    lit *= 1 + slope[0] * np.linspace(-1, 1, width, dtype=np.float32)
    lit *= 1 + slope[1] * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    sigma = strength * rng.uniform(0.2, 1.0)
    lit = cv2.GaussianBlur(lit, (0, 0), sigma)
    cv2.setRNGSeed(int(rng.integers(1, 2**31)))
    noise = np.empty((height, width), np.float32)
    cv2.randn(noise, 0, strength * rng.uniform(1, 5))
    shot = np.clip(lit + noise, 0, 255).astype(np.uint8)
    quality = int(rng.integers(60, 96))
    _, encoded = cv2.imencode(".jpg", shot, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def unrelated(scenes: Scenes, index: int, rng: np.random.Generator, *, longest: int) -> Pair:
    """Make a pair of parts of two photographs."""
    other = index + int(rng.integers(1, len(scenes)))
    shots = []
    for which in (index, other):
        full = scenes.gray(which, SIZE)
        height, width = (round(side * rng.uniform(0.4, 0.9)) for side in full.shape)
        y = int(rng.integers(0, full.shape[0] - height + 1))
        x = int(rng.integers(0, full.shape[1] - width + 1))
        scale = longest / max(height, width)
        part = full[y : y + height, x : x + width]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=how)
        shots.append(_photographed(np.asarray(part, np.uint8), rng, 0.5))
    names = [scenes.names[which % len(scenes)] for which in (index, other)]
    return Pair("+".join(names), shots[0], shots[1], None)


def blank(scenes: Scenes, index: int, rng: np.random.Generator, *, longest: int) -> Pair:
    """Make a pair of which one or both show an empty wall in uneven light."""
    wall = np.full((longest * 3 // 4, longest), rng.integers(40, 220), np.uint8)
    first = _photographed(wall, rng, 1.0)
    other = wall if index % 2 else scenes.gray(index, longest)
    return Pair("blank", first, _photographed(other, rng, 1.0), None)


def repetitive(scenes: Scenes, index: int, rng: np.random.Generator, *, longest: int) -> Pair:
    """Make a pair of a pattern that repeats exactly, moved by more than its period."""
    del scenes
    names = list(PATTERNS)
    name = names[index % len(names)]
    size = Size(longest, longest * 3 // 4)
    period = longest * float(rng.uniform(0.04, 0.1))
    large = Size(size.width * 2, size.height * 2)
    pattern = PATTERNS[name](large, period)
    inner = np.array([[1, 0, size.width / 2], [0, 1, size.height / 2], [0, 0, 1.0]])
    angle = rng.uniform(-4, 4) * (index // len(names) % 2)  # every other one only moved
    turn = np.vstack([cv2.getRotationMatrix2D(tuple(np.array(large) / 2), angle, 1.0), [0, 0, 1]])
    away = np.eye(3)
    away[:2, 2] = rng.integers(-2, 3, 2) * np.array(PERIODS[name]) * period
    back = np.linalg.inv(inner)
    first = pattern[size.height // 2 :][: size.height, size.width // 2 :][:, : size.width]
    moved = back @ turn @ away
    second = cv2.warpPerspective(pattern, moved, size, flags=cv2.INTER_CUBIC)
    truth = moved @ inner
    shots = [_photographed(np.asarray(each, np.uint8), rng, 0.7) for each in (first, second)]
    return Pair(name, shots[0], shots[1], np.asarray(truth, np.float64))


def pattern_from_aside(
    scenes: Scenes, index: int, rng: np.random.Generator, *, longest: int
) -> Pair:
    """Make a pair of a pattern that repeats exactly, moved by periods and seen from aside."""
    del scenes
    names = list(PATTERNS)
    name = names[index % len(names)]
    size = Size(longest, longest * 3 // 4)
    period = longest * float(rng.uniform(0.04, 0.1))
    pattern = PATTERNS[name](Size(3 * size.width, 3 * size.height), period)
    middle = np.array([[1, 0, size.width], [0, 1, size.height], [0, 0, 1.0]])
    away = np.eye(3)
    away[:2, 2] = rng.integers(1, 4, 2) * rng.choice([-1, 1], 2) * np.array(PERIODS[name]) * period
    truth = oblique(float(rng.uniform(5, 60)))(rng, size) @ away
    first = pattern[size.height : 2 * size.height, size.width : 2 * size.width]
    seen = truth @ np.linalg.inv(middle)
    second = cv2.warpPerspective(pattern, seen, size, flags=cv2.INTER_CUBIC)
    shots = [_photographed(np.asarray(each, np.uint8), rng, 0.7) for each in (first, second)]
    return Pair(name, shots[0], shots[1], np.asarray(truth / truth[2, 2], np.float64))


def _phase(size: Size, period: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.meshgrid(np.arange(size.width) / period, np.arange(size.height) / period)
    return x, y


def _grid(size: Size, period: float) -> Gray:
    x, y = _phase(size, period)
    return np.where((x % 1 < 0.12) | (y % 1 < 0.12), 60, 210).astype(np.uint8)


def _checker(size: Size, period: float) -> Gray:
    x, y = _phase(size, period)
    return np.where((x % 1 < 0.5) ^ (y % 1 < 0.5), 50, 200).astype(np.uint8)


def _dots(size: Size, period: float) -> Gray:
    x, y = _phase(size, period)
    return np.where(np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.25, 50, 215).astype(np.uint8)


def _bricks(size: Size, period: float) -> Gray:
    x, y = _phase(size, period)
    x = x / 2 + 0.5 * (np.floor(y) % 2)
    return np.where((x % 1 < 0.06) | (y % 1 < 0.12), 200, 110).astype(np.uint8)


def _lines(size: Size, period: float) -> Gray:
    """Draw a page of one word, again and again."""
    tile = np.full((round(period), round(3 * period)), 235, np.uint8)
    scale = period / 40
    place = (round(0.2 * period), round(0.75 * period))
    cv2.putText(tile, "Serial", place, cv2.FONT_HERSHEY_DUPLEX, scale, 30, max(1, round(2 * scale)))
    rows, columns = -(-size.height // tile.shape[0]), -(-size.width // tile.shape[1])
    return np.tile(tile, (rows, columns))[: size.height, : size.width]


PATTERNS: dict[str, Callable[[Size, float], Gray]] = {
    "grid": _grid,
    "checker": _checker,
    "dots": _dots,
    "bricks": _bricks,
    "lines": _lines,
}
PERIODS = {"grid": (1, 1), "checker": (1, 1), "dots": (1, 1), "bricks": (2, 2), "lines": (3, 1)}


# --- methods -----------------------------------------------------------------------------------


def this_service(gray1: Gray, gray2: Gray) -> Matrix | None:
    """Do what the endpoint does, from grey images on."""
    found = kernel.align_exactly(gray1, gray2, longest=WORKING_SIZE)
    return None if found is None else found.matrix


def sift(gray1: Gray, gray2: Gray) -> Matrix | None:
    """SIFT at 512 px, ratio test, RANSAC: the usual recipe."""
    detector = cv2.SIFT_create(nfeatures=PEER_FEATURES)
    return _peer(gray1, gray2, detector, cv2.NORM_L2, cv2.RANSAC)


def orb(gray1: Gray, gray2: Gray) -> Matrix | None:
    """ORB at 512 px, ratio test, MAGSAC++."""
    return _peer(gray1, gray2, cv2.ORB_create(PEER_FEATURES), cv2.NORM_HAMMING, cv2.USAC_MAGSAC)


def orb_ecc(gray1: Gray, gray2: Gray) -> Matrix | None:
    """ORB at 512 px, MAGSAC++, then ECC (Evangelidis and Psarakis, PAMI 2008) at 512 px."""
    small1, small2 = _fit(gray1), _fit(gray2)
    sizes, full = (_size(small1), _size(small2)), (_size(gray1), _size(gray2))
    matrix = orb(small1, small2)
    if matrix is None:
        return None
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, start = cv2.findTransformECC(
            small1, small2, matrix.astype(np.float32), cv2.MOTION_HOMOGRAPHY, criteria
        )
        matrix = np.asarray(start, np.float64)
    except cv2.error:  # it does not converge: the unrefined matrix stands
        pass
    return rescale_homography(matrix, from_sizes=sizes, to_sizes=full)


def _peer(
    gray1: Gray, gray2: Gray, detector: cv2.Feature2D, norm: int, estimator: int
) -> Matrix | None:
    small1, small2 = _fit(gray1), _fit(gray2)
    found1, descriptors1 = detector.detectAndCompute(small1, None)
    found2, descriptors2 = detector.detectAndCompute(small2, None)
    if min(len(found1), len(found2)) < 4:
        return None
    nearest = cv2.BFMatcher(norm).knnMatch(descriptors1, descriptors2, k=2)
    good = [first for first, second in nearest if first.distance < 0.75 * second.distance]
    if len(good) < 4:
        return None
    points1 = np.array([found1[match.queryIdx].pt for match in good], np.float32)
    points2 = np.array([found2[match.trainIdx].pt for match in good], np.float32)
    matrix, _ = cv2.findHomography(points1, points2, estimator, 3.0)
    if matrix is None:
        return None
    sizes, full = (_size(small1), _size(small2)), (_size(gray1), _size(gray2))
    return rescale_homography(matrix, from_sizes=sizes, to_sizes=full)


Method = Callable[[Gray, Gray], Matrix | None]
OURS = "this service"
PEERS: dict[str, Method] = {
    "SIFT@512, RANSAC": sift,
    "ORB@512, MAGSAC++": orb,
    "ORB@512, MAGSAC++, ECC": orb_ecc,
}


# --- groups ------------------------------------------------------------------------------------

Maker = Callable[[Scenes, int, np.random.Generator], Pair]


class Group(NamedTuple):
    """A kind of pairs: how many of them for each hundred asked for, and how one is made."""

    per_hundred: int
    make: Maker
    peers: bool = False


def _again(view: View, *, longest: int = SIZE, replaced: float = REPLACED) -> Maker:
    return lambda scenes, index, rng: seen_again(
        scenes, index, rng, view, longest=longest, replaced=replaced
    )


def _mirrored(scenes: Scenes, index: int, rng: np.random.Generator) -> Pair:
    return seen_again(scenes, index, rng, hand_held, longest=WORKING_SIZE, mirrored=True)


def _at(longest: int, make: Callable[..., Pair]) -> Maker:
    return lambda scenes, index, rng: make(scenes, index, rng, longest=longest)


MATCHING: dict[str, Group] = {
    "random": Group(100, _again(hand_held), peers=True),
    "random, searched only": Group(300, _again(hand_held, longest=WORKING_SIZE)),
    "half of it replaced": Group(40, _again(hand_held, replaced=0.5)),
    "a quarter in common": Group(40, _again(panned)),
    "viewpoint 60°": Group(40, _again(oblique(60))),
    "turn 90°": Group(30, _again(turned(90))),
    "turn 180°": Group(30, _again(turned(180))),
    "scale 2": Group(30, _again(scaled(2.0))),
    "scale 0.5": Group(30, _again(scaled(0.5))),
}
REFUSED: dict[str, Group] = {
    "mirrored": Group(100, _mirrored),
    "blank": Group(40, _at(WORKING_SIZE, blank)),
    "repetitive": Group(100, _at(WORKING_SIZE, repetitive)),
    "unrelated": Group(500, _at(WORKING_SIZE, unrelated)),
    "repetitive, from aside": Group(100, _at(WORKING_SIZE, pattern_from_aside)),
    f"unrelated, {SIZE} px": Group(40, _at(SIZE, unrelated)),
}
GROUPS = MATCHING | REFUSED


@cache
def _scenes(chosen: Set) -> Scenes:
    return Scenes(photographs(chosen))


class Task(NamedTuple):
    """Some pairs of a group."""

    chosen: Set
    seed: int
    group: str
    numbers: range
    peers: bool


def made(task: Task, number: int) -> Pair:
    """Make a pair; it depends on the set, the seed, the group and the number alone."""
    rng = np.random.default_rng([task.seed, list(GROUPS).index(task.group), number])
    return GROUPS[task.group].make(_scenes(task.chosen), number, rng)


def measured(task: Task) -> list[Answer]:
    """Ask every method about some pairs."""
    cv2.setNumThreads(1)
    methods: dict[str, Method] = {OURS: this_service}
    if task.peers and GROUPS[task.group].peers:
        methods |= PEERS
    answers = []
    for number in task.numbers:
        pair = made(task, number)
        for name, method in methods.items():
            start = time.process_time()
            matrix = method(pair.gray1, pair.gray2)
            seconds = time.process_time() - start
            error = None if matrix is None else error_px(matrix, pair)
            answers.append(Answer(task.group, number, pair.name, name, error, seconds))
    return answers


def _tasks(asked: report.Options) -> Iterator[Task]:
    for name, group in GROUPS.items():
        count = max(1, round(asked.pairs * group.per_hundred / 100))
        for first in range(0, count, 20):
            numbers = range(first, min(first + 20, count))
            yield Task(asked.chosen, asked.seed, name, numbers, asked.peers)


# --- report ------------------------------------------------------------------------------------


def _errors(answers: Sequence[Answer]) -> list[float]:
    return [answer.error_px for answer in answers if answer.error_px is not None]


def _percentile(errors: Sequence[float], percent: float) -> float:
    return float(np.percentile(errors, percent, method="lower")) if errors else float("nan")


def _matching_row(label: str, answers: Sequence[Answer]) -> tuple[object, ...]:
    errors = _errors(answers)
    right = sum(error <= SUCCESS_PX for error in errors)
    return (
        label,
        len(answers),
        _percentile(errors, 50),
        _percentile(errors, 90),
        right / len(answers),
        len(errors) - right,
    )


def _refused_row(label: str, answers: Sequence[Answer]) -> tuple[object, ...]:
    errors = _errors(answers)
    wrong = sum(error > SUCCESS_PX for error in errors)
    return label, len(answers), 1 - len(errors) / len(answers), wrong


def upper_bound(wrong: int, returned: int) -> float:
    """Return the share that is wrong at most, with 95 % confidence (Clopper and Pearson, 1934)."""
    low, high = 0.0, 1.0
    for _ in range(50):
        share = (low + high) / 2
        chances = (
            math.comb(returned, count) * share**count * (1 - share) ** (returned - count)
            for count in range(wrong + 1)
        )
        if sum(chances) > 0.05:
            low = share
        else:
            high = share
    return high


def _text(answers: Sequence[Answer]) -> str:
    by: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        by[answer.group, answer.method].append(answer)
    matching = [
        _matching_row(group if method == OURS else f"{group}: {method}", some)
        for (group, method), some in by.items()
        if group in MATCHING
    ]
    refused = [_refused_row(group, some) for (group, _), some in by.items() if group in REFUSED]
    ours = _errors([answer for answer in answers if answer.method == OURS])
    wrong = sum(error > SUCCESS_PX for error in ours)
    first = next(iter(MATCHING))
    seconds = {
        method: float(np.median([answer.seconds for answer in some]))
        for (group, method), some in by.items()
        if group == first
    }
    times = [(method, each / seconds[OURS]) for method, each in seconds.items()]
    method = (
        "`alignmentMatrix` on photographs seen again through a known homography, in other light, "
        "with blur, noise, JPEG and a tenth of them replaced, before another photograph as "
        f"background. Error: mean over what both images show, px at {SIZE} px; success: a matrix "
        f"with at most {SUCCESS_PX:g} px; wrong: returned with more."
    )
    refusals = (
        "“Searched only” is the search at 512 px without the refinement at full size, for numbers. "
        "What must be refused, at 512 px unless another size is named:"
    )
    share = (
        f"Wrong among all matrices returned: {wrong} of {len(ours)}; with 95 % confidence at most "
        f"{upper_bound(wrong, len(ours)):.4f} of such."
    )
    spent = f"Processor time from grey images of {SIZE} px, group “{first}”, over this service's:"
    paragraphs = (
        "## Alignment",
        method,
        report.table(("group", "pairs", "median px", "p90 px", "success", "wrong"), matching),
        refusals,
        report.table(("group", "pairs", "refused", "wrong"), refused),
        share,
        spent,
        report.table(("method", "time ratio"), times),
    )
    return "\n\n".join(paragraphs)


def _tile(answer: Answer, asked: report.Options) -> tuple[str, NDArray[np.uint8]]:
    task = Task(asked.chosen, asked.seed, answer.group, range(0), peers=False)
    pair = made(task, answer.number)
    height = 320
    halves = [
        cv2.resize(gray, (round(gray.shape[1] * height / gray.shape[0]), height))
        for gray in (pair.gray1, pair.gray2)
    ]
    said = "refused" if answer.error_px is None else f"{answer.error_px:.2f} px"
    group = answer.group.replace("°", " deg")
    picture = cv2.cvtColor(np.hstack(halves), cv2.COLOR_GRAY2BGR)
    return f"{group} {answer.number}: {said}", np.asarray(picture, np.uint8)


def _badness(answer: Answer) -> float:
    """Wrong matrices first, then refusals of what matches, then inexact ones."""
    if answer.group in REFUSED:
        return -1.0 if answer.error_px is None else 1e6
    if answer.error_px is None:
        return SUCCESS_PX
    return answer.error_px


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    asked = report.options(
        "Accuracy of alignmentMatrix, and of its refusals.", pairs=100, arguments=arguments
    )
    photographs(asked.chosen)  # fetched once, before processes start
    tasks = list(_tasks(asked))
    if asked.jobs == 1:
        batches = [measured(task) for task in tasks]
    else:
        with ProcessPoolExecutor(asked.jobs) as pool:
            batches = list(pool.map(measured, tasks))
    answers = [answer for batch in batches for answer in batch]
    report.publish("alignment", _text(answers), asked, peers=())
    if asked.save:
        ours = [answer for answer in answers if answer.method == OURS]
        worst = sorted(ours, key=_badness, reverse=True)[:20]
        tiles = [_tile(answer, asked) for answer in worst]
        report.save_contact_sheet(asked.save / "alignment-worst.jpg", tiles)


def _fit(gray: Gray) -> Gray:
    scale = WORKING_SIZE / max(gray.shape)
    if scale >= 1:
        return gray
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _size(gray: Gray) -> Size:
    return Size(gray.shape[1], gray.shape[0])


if __name__ == "__main__":
    main()
