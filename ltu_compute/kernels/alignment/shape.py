"""Align two specimens of a part by their shape: a turn, a scale and a shift.

Keypoints compare surfaces, and those of two specimens differ: in grain, scratches and reflections.
Specimens may be at any angle, and some of their parts may have moved against the others. But most
of their edges are at the same places. This is the shape-based matching of industrial inspection
(Steger, "Similarity measures for occlusion, clutter, and illumination invariant object
recognition", DAGM 2001): of all poses, the one under which the directions of gradients agree most.
Candidates are refined by least squares along the normals of edges, with Tukey's biweight (Wallack
and Manocha, "Robust algorithms for object localization", IJCV 1998). Parts that moved are outliers
there: they do not bend the pose.

Where good specimens are known, an edge counts by the share of them that show it. A thread turns
with its screw, and edges of its turns, though most of all, say nothing of where the screw is.

The shape is that of a region, or of the subject before a plain background, or of all of image 1.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.alignment.planes import Planes
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.homography import (
    inverse,
    map_points,
    rescale_homography,
    resizing,
    size_of,
)
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import reduced, reduced_size
from ltu_compute.kernels.types import Gray, Mask, Matrix, Size
from ltu_compute.kernels.vectors import lengths

_SEARCH_SIZE = 160  # px, longest side of image 2 at which poses are searched
_SEARCH_BLUR = 1.5  # px of that: poses of the search are so far apart
_TURN_STEP = 5  # degrees: half of it moves the rim of a part by 3.5 px of the search
_PEAKS = 3  # shifts of each turn that are looked at
_CANDIDATES = 8  # poses that are refined
_APART = 12.0  # degrees between candidates
_APART_PX = 6  # px of the search between them
_EQUAL = 0.02  # of the share of edges that agree: such poses are equally good
_SCALE_RANGE = 1.15  # times: specimens are of one size, and a camera may be a little nearer
_JUDGED_SIZE = 384  # px, longest side at which agreement is measured, and edges are found
_JUDGED_REACH = 3  # px of that: how far along its normal an edge is looked for
_AGREES_PX = 1.5  # px of that: distance of edges that agree
_AGREES_COSINE = 0.8  # of the angle between gradients of one edge
_MOST_POINTS = 1500
_FEWEST_POINTS = 40
_BEYOND = 1.4  # times the reach: edges so far away would not count
_ROUND = 0.01  # of the best known direction of a pose: what a raster alone says of a turn
_SIGMA = 1.0  # px: Gaussian before gradients
_STRONG = 0.25  # of the 99th percentile of gradients: edges
_LEAST_GRADIENT = 24.0  # Sobel's units, of 8 bits: weaker ones are noise
_LEAST_WEIGHT = 0.02  # of an edge that no good specimen shows
_INDEPENDENT = 60  # edge points: errors of neighbours are alike
_MIN_AGREEMENT = 0.2  # share of edges: other things reach a tenth
_ALIKE = 0.8  # correlation of blocks: a plate's holes fit others, a period away, no better
_GOOD = 0.75  # share of edges under an alignment that needs no other one
_BETTER = 0.08  # of that share, by which the shape must surpass another alignment
_RIM = 0.02  # of the longest side: width of the border that shows the background
_PLAIN = 0.9  # share of the border that a plain background covers
_SUBJECT = (0.01, 0.7)  # share of image 1 that a subject covers
_MARGIN = 0.015  # of the longest side: added around a subject, so that its outline is inside

Subject = Literal["region", "subject", "image"]


class Shaped(NamedTuple):
    """An alignment by shape, and what has the shape: a region, a subject or the whole image."""

    alignment: Alignment
    subject: Subject


class _Model(NamedTuple):
    """Edges of image 1: points, in px of image 1, and unit vectors towards their lighter sides.

    The arrays have the shape (N, 2); `weights`, by how much each edge counts, has (N,).
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    weights: NDArray[np.float64]
    subject: Subject


class _Level(NamedTuple):
    """Resolution at which a pose is refined."""

    size: int  # px, longest side
    reaches: tuple[int, ...]  # px searched along normals, step by step


_COARSE = _Level(256, (10, 8, 6, 5, 4, 3, 3))
_FINE = _Level(1024, (8, 6, 5, 4, 3, 3))


def align_shape(
    gray1: Gray,
    gray2: Gray,
    *,
    region1: Mask | None = None,
    known: Alignment | None = None,
    alike: Sequence[Gray] = (),
) -> Shaped | None:
    """Find the similarity that maps the shape that image 1 shows onto image 2.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, of about one scale relative to their longest sides.
    region1 : ndarray of uint8, shape (H, W), optional
        Region of image 1 that has the shape: 255 within.
    known : Alignment, optional
        An alignment of the images, in px of both, which suffices where most edges agree under it.
    alike : sequence of ndarray of uint8, shapes (H, W)
        Good specimens in the place of image 1, of any size. An edge counts by the share of them
        that show it. Default: all edges count the same.

    Returns
    -------
    Shaped or None
        With ``"shape"`` as the alignment's method, and the share of the edges that agree as its
        agreement. None where `known` is as good, or image 2 does not show the shape.
    """
    model = _model(gray1, region1)
    if len(model.points) < _FEWEST_POINTS:
        return None
    if alike:
        model = _weighed(model, size_of(gray1), alike)
    judge = _Judge(gray1, gray2, model)
    own = 0.0 if known is None else judge.share(known.matrix)
    if own >= _GOOD:
        return None
    found = []
    for pose in _candidates(model, gray1, gray2):
        checkpoint()
        fit = _fitted(pose, model, gray1, gray2, _COARSE)
        if fit is not None:
            found.append((judge.share(fit.matrix), fit.matrix))
    most = max((share for share, _ in found), default=0.0)
    if most < max(_MIN_AGREEMENT, own + _BETTER):
        return None
    # A part that looks the same at several angles is turned as little as possible.
    equal = [matrix for share, matrix in found if share >= most - _EQUAL]
    exact = _fitted(min(equal, key=_turn), model, gray1, gray2, _FINE)
    if exact is None:
        return None
    share = judge.share(exact.matrix)
    if share < max(_MIN_AGREEMENT, own + _BETTER):
        return None
    alignment = Alignment(
        matrix=exact.matrix,
        inliers=len(exact.points1),
        matches=len(model.points),
        residual_px=exact.residual_px,
        method="shape",
        agreement=share,
        expected_error_px=exact.residual_px / np.sqrt(min(_INDEPENDENT, len(exact.points1)) / 4),
        inlier_points1=exact.points1,
        inlier_points2=map_points(exact.points1, exact.matrix).astype(np.float32),
    )
    return Shaped(alignment, model.subject)


def choose_shape(planes: Planes, gray1: Gray, gray2: Gray, region1: Mask | None) -> Planes:
    """Choose between the alignment of surfaces and that of the shape.

    Parameters
    ----------
    planes : Planes
        The alignment of surfaces.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images.
    region1 : ndarray of uint8, shape (H, W), or None
        Region of image 1 that is of interest: 255 within.

    Returns
    -------
    Planes
        `planes` where surfaces or most edges agree under its alignment, or the shape does not fit
        better.
    """
    known = planes.alignment
    if known and known.agreement >= _ALIKE:
        return planes
    found = align_shape(gray1, gray2, region1=region1, known=known)
    if found is None:
        return planes
    return Planes(found.alignment, found.subject, rest_agrees=False)


def _turn(matrix: Matrix) -> float:
    """Return by how much a similarity turns, radians, 0 to pi."""
    return abs(float(np.arctan2(matrix[1, 0], matrix[0, 0])))


# ------------------------------------------------------------------------------- the shape


@of_reference
def _model(gray1: Gray, region1: Mask | None) -> _Model:
    """Return the edges of the region, of the subject before a plain background, or of all."""
    subject: Subject = "image"
    inside = None
    if region1 is not None:
        subject, inside = "region", region1
    else:
        inside = _subject(gray1)
        if inside is not None:
            subject = "subject"
    small = reduced(gray1, _JUDGED_SIZE)
    x, y = _gradients(small)
    strength = lengths(x, y)
    level = max(_LEAST_GRADIENT, _STRONG * float(np.percentile(strength, 99)))
    thin = cv2.Canny(x.astype(np.int16), y.astype(np.int16), level / 2, level, L2gradient=True)
    if inside is not None:
        thin[cv2.resize(inside, size_of(small), interpolation=cv2.INTER_NEAREST) == 0] = 0
    rows, columns = np.nonzero(thin)
    if len(rows) > _MOST_POINTS:
        chosen = np.linspace(0, len(rows) - 1, _MOST_POINTS).round().astype(int)
        rows, columns = rows[chosen], columns[chosen]
    normals = np.stack([x[rows, columns], y[rows, columns]], axis=1).astype(np.float64)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    onto1 = resizing(size_of(small), size_of(gray1))
    points = map_points(np.stack([columns, rows], axis=1).astype(np.float32), onto1)
    return _Model(points, normals, np.ones(len(points)), subject)


def _weighed(model: _Model, size1: Size, alike: Sequence[Gray]) -> _Model:
    """Weigh edges by the share of pictures of the frame of image 1 that show them, squared."""
    agree = np.zeros(len(model.points))
    for picture in alike:
        small = reduced(picture, _JUDGED_SIZE)
        points = map_points(model.points, resizing(size1, size_of(small)))
        offsets, weights = _offsets(_gradients(small), points, model.normals, _JUDGED_REACH)
        agree += (weights > 0) & (np.abs(offsets) <= _AGREES_PX)
    return model._replace(weights=np.maximum(_LEAST_WEIGHT, (agree / len(alike)) ** 2))


def _subject(gray1: Gray) -> Mask | None:
    """Return the part before a plain background, 255, with a margin; None if there is none."""
    small = cv2.GaussianBlur(reduced(gray1, _JUDGED_SIZE), (0, 0), 2)
    rim = max(2, round(_RIM * max(small.shape)))
    border = np.ones(small.shape, bool)
    border[rim:-rim, rim:-rim] = False
    background = np.uint8(np.median(small[border]))
    away = cv2.absdiff(small, np.full_like(small, background))
    _, mask = cv2.threshold(away, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if np.count_nonzero(mask[border] == 0) < _PLAIN * np.count_nonzero(border):
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    share = stats[largest, cv2.CC_STAT_AREA] / mask.size
    if not _SUBJECT[0] <= share <= _SUBJECT[1]:
        return None
    side = 2 * max(1, round(_MARGIN * max(small.shape))) + 1
    own = np.where(labels == largest, np.uint8(255), np.uint8(0))
    wider = cv2.dilate(own, np.ones((side, side), np.uint8))
    return np.asarray(cv2.resize(wider, size_of(gray1), interpolation=cv2.INTER_NEAREST), np.uint8)


@of_reference
def _gradients(gray: Gray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the derivatives of a slightly blurred image, right and down, in Sobel's units."""
    smooth = cv2.GaussianBlur(gray, (0, 0), _SIGMA)
    x, y = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


# ------------------------------------------------------------------------------- the search


def _candidates(model: _Model, gray1: Gray, gray2: Gray) -> list[Matrix]:
    """Return the poses under which most directions agree, in px of the images, the best first."""
    small2 = reduced(gray2, _SEARCH_SIZE)
    sizes, smalls = (size_of(gray1), size_of(gray2)), size_of(small2)
    onto = resizing(sizes[0], reduced_size(sizes[0], max(smalls)))
    points = map_points(model.points, onto)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    centred = points - middle
    field = _directions(small2)
    scores: list[tuple[float, Matrix]] = []
    for degrees in range(0, 360, _TURN_STEP):
        turn = _rotation(degrees)
        normals = model.normals * model.weights[:, None]
        template, corner = _template(centred @ turn.T, normals @ turn.T)
        pad = [side // 2 for side in template.shape[:2]]
        padded = cv2.copyMakeBorder(
            field, pad[0], pad[0], pad[1], pad[1], cv2.BORDER_CONSTANT, value=0
        )
        if any(own < other for own, other in zip(padded.shape, template.shape, strict=False)):
            continue
        agreement = cv2.matchTemplate(padded, template, cv2.TM_CCORR)
        for _ in range(_PEAKS):
            _, score, _, place = cv2.minMaxLoc(agreement)
            shift = np.array(place) - (pad[1], pad[0]) - corner
            matrix = np.eye(3)
            matrix[:2, :2] = turn
            matrix[:2, 2] = shift - turn @ middle
            scores.append((float(score), matrix))
            cv2.circle(agreement, place, _APART_PX, -1.0, -1)
    if not scores:
        return []
    # Where nothing says how far it is turned, it is not turned.
    chosen = [max(scores[:_PEAKS], key=lambda entry: entry[0])[1]]
    scores.sort(key=lambda entry: -entry[0])
    for _, matrix in scores:
        if all(_are_apart(matrix, other, middle) for other in chosen):
            chosen.append(matrix)
        if len(chosen) == _CANDIDATES:
            break
    back = resizing(smalls, sizes[1])
    return [back @ matrix @ onto for matrix in chosen]


def _rotation(degrees: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def _are_apart(first: Matrix, second: Matrix, middle: NDArray[np.float64]) -> bool:
    """Return whether two poses would not be refined to the same one."""
    if np.degrees(_turn(first @ inverse(second))) > _APART:
        return True
    moved = map_points(middle[None], first) - map_points(middle[None], second)
    return float(np.linalg.norm(moved)) > _APART_PX


def _directions(gray: Gray) -> NDArray[np.float32]:
    """Return unit vectors across edges, weaker where there is none, shape (H, W, 2); blurred."""
    x, y = _gradients(gray)
    strength = lengths(x, y)
    level = max(_LEAST_GRADIENT, _STRONG * float(np.percentile(strength, 99)))
    unit = np.dstack([x, y]) / np.maximum(strength, level)[..., None]
    return np.asarray(cv2.GaussianBlur(unit, (0, 0), _SEARCH_BLUR), np.float32)


def _template(
    points: NDArray[np.float64], normals: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Draw edges; return the picture, shape (H, W, 2), and the place of its first pixel."""
    corner = np.floor(points.min(axis=0))
    columns, rows = np.rint(points - corner).astype(int).T
    drawn = np.zeros((rows.max() + 1, columns.max() + 1, 2), np.float32)
    np.add.at(drawn, (rows, columns), normals.astype(np.float32))
    lengths = np.linalg.norm(drawn, axis=2, keepdims=True)
    return np.asarray(drawn / np.maximum(lengths, 1), np.float32), corner


# ------------------------------------------------------------------------------- the pose


class _Fit(NamedTuple):
    """A pose, and the edges that determined it, in px of image 1."""

    matrix: Matrix
    points1: NDArray[np.float32]
    residual_px: float  # of image 2


def _fitted(matrix: Matrix, model: _Model, gray1: Gray, gray2: Gray, level: _Level) -> _Fit | None:
    """Move a pose to the nearest edges, by least squares along the normals of the edges."""
    small1, small2 = reduced(gray1, level.size), reduced(gray2, level.size)
    sizes, smalls = (size_of(gray1), size_of(gray2)), (size_of(small1), size_of(small2))
    pose = rescale_homography(matrix, from_sizes=sizes, to_sizes=smalls)
    points = map_points(model.points, resizing(sizes[0], smalls[0]))
    fields = _gradients(small2)
    near = np.zeros(len(points), bool)
    offsets = np.zeros(len(points))
    for reach in level.reaches:
        seen, normals = _mapped(points, model.normals, pose)
        offsets, weights = _offsets(fields, seen, normals, reach)
        near = weights > 0
        weights = weights * model.weights
        if near.sum() < _FEWEST_POINTS:
            return None
        # Tukey's biweight: edges of parts that moved do not count.
        weights = weights * (1 - (offsets / (_BEYOND * reach)) ** 2) ** 2
        step = _step(seen, normals, offsets, weights)
        if step is None:
            return None
        pose = step @ pose
    scale = np.sqrt(abs(np.linalg.det(pose[:2, :2]))) * max(smalls[0]) / max(smalls[1])
    if not 1 / _SCALE_RANGE <= scale <= _SCALE_RANGE:
        return None
    matrix = rescale_homography(pose, from_sizes=smalls, to_sizes=sizes)
    residual = float(np.median(np.abs(offsets[near]))) * max(sizes[1]) / max(smalls[1])
    return _Fit(matrix, model.points[near].astype(np.float32), residual)


def _mapped(
    points: NDArray[np.float64], normals: NDArray[np.float64], matrix: Matrix
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map edges: their points, and unit vectors across them."""
    seen = map_points(points, matrix)
    along = map_points(points + np.stack([-normals[:, 1], normals[:, 0]], axis=1), matrix) - seen
    across = np.stack([along[:, 1], -along[:, 0]], axis=1)
    return seen, across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)


def _offsets(
    fields: tuple[NDArray[np.float32], NDArray[np.float32]],
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    reach: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far along its normal the strongest edge near each point is, px, and weights.

    The weight is 0 where there is no edge of that direction.
    """
    steps = np.arange(-reach, reach + 1)
    places = points[:, None] + steps[None, :, None] * normals[:, None]
    x, y = (_sampled(field, places) for field in fields)
    along = x * normals[:, :1] + y * normals[:, 1:]
    aligned = along >= _AGREES_COSINE * np.hypot(x, y)
    strength = np.where(aligned & (along >= _LEAST_GRADIENT), along, 0)
    preferred = strength * (1 - 0.5 * (steps / (reach + 1)) ** 2)
    best = preferred.argmax(axis=1)
    rows = np.arange(len(points))
    peak = along[rows, best]
    before, after = (along[rows, np.clip(best + d, 0, 2 * reach)] for d in (-1, 1))
    curve = before - 2 * peak + after
    subpixel = np.where(curve < -1e-6, 0.5 * (before - after) / np.minimum(curve, -1e-6), 0)
    offsets = steps[best] + np.clip(subpixel, -0.5, 0.5)
    return offsets, (preferred[rows, best] > 0).astype(np.float64)


def _sampled(field: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values between pixels; 0 outside."""
    columns, rows = (places[..., axis].astype(np.float32) for axis in (0, 1))
    return np.asarray(
        cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT),
        np.float64,
    )


def _step(
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    offsets: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Matrix | None:
    """Return the similarity that moves points by their offsets along the normals."""
    middle = np.average(points, axis=0, weights=weights) if weights.sum() > 0 else None
    if middle is None:
        return None
    x, y = (points - middle).T
    across, down = normals.T
    length = max(1.0, float(np.hypot(x, y).max()))
    columns = np.stack(
        [(across * x + down * y) / length, (down * x - across * y) / length, across, down], axis=1
    )
    normal = columns.T @ (columns * weights[:, None])
    values = np.linalg.eigvalsh(normal)
    if values[0] <= _ROUND * values[-1]:  # a disc is not turned
        normal[1, 1] += values[-1]
        if np.linalg.eigvalsh(normal)[0] <= _ROUND * values[-1]:
            return None
    solved = np.linalg.solve(normal, columns.T @ (offsets * weights))
    growth, turn = solved[0] / length, solved[1] / length
    matrix = np.eye(3)
    matrix[:2, :2] += [[growth, -turn], [turn, growth]]
    matrix[:2, 2] = middle + solved[2:] - matrix[:2, :2] @ middle
    return matrix


class _Judge:
    """Measures under which share of its edges image 1 agrees with image 2."""

    def __init__(self, gray1: Gray, gray2: Gray, model: _Model) -> None:
        small1, small2 = reduced(gray1, _JUDGED_SIZE), reduced(gray2, _JUDGED_SIZE)
        self._sizes = size_of(gray1), size_of(gray2)
        self._smalls = size_of(small1), size_of(small2)
        self._points = map_points(model.points, resizing(self._sizes[0], self._smalls[0]))
        self._normals = model.normals
        self._weights = model.weights
        self._fields = _gradients(small2)

    def share(self, matrix: Matrix) -> float:
        """Return the share of edges that are within `_AGREES_PX` of an edge like them."""
        pose = rescale_homography(matrix, from_sizes=self._sizes, to_sizes=self._smalls)
        seen, normals = _mapped(self._points, self._normals, pose)
        offsets, weights = _offsets(self._fields, seen, normals, _JUDGED_REACH)
        agree = (weights > 0) & (np.abs(offsets) <= _AGREES_PX)
        return float(np.average(agree, weights=self._weights))
