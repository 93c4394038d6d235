"""A detector on a frozen network's maps: at each cell, a class and the distances to its sides.

Cells near the centre of a box learn its class and the distances to its sides. Cells outside of all
boxes learn that nothing is there (Z. Tian et al., "FCOS", ICCV 2019). Empty cells that were taken
for objects are learnt from again: hard negatives (P. Felzenszwalb et al., "Object detection with
discriminatively trained part-based models", PAMI 2010, section 5). The heads see whitened principal
components of the maps, so that thousands of channels learn from a few hundred cells.

A single cell that is sure and wrong would be a false box. So each head is the mean of several fits
(L. Hansen, P. Salamon, "Neural network ensembles", PAMI 1990), logits are means over neighbouring
cells, and so are boxes, weighted by their scores (S. Gidaris, N. Komodakis, "Object detection via a
multi-region and semantic segmentation-aware CNN model", ICCV 2015, section 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checked, checkpoint

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

LEAST_BOXES = 10  # of each class
FEW_BOXES = 50  # of each class, below which a warning is given
CENTRAL = 0.5  # share of a box's sides within which cells learn it
DOUBTFUL = 0.7  # share of them within which cells learn neither it nor that nothing is there
COMPONENTS = 64  # of the maps that the heads see
HIDDEN = 64  # units of each head
EPOCHS = 60
BATCH = 128  # cells
DECAY = 0.1  # of squared weights of the class head
SIDES_DECAY = 1.0  # of those of the other head
RATE = 2e-3  # of Adam
POSITIVES_OF_A_BOX = 12  # cells of one box in one view that are learnt from, at the most
NEGATIVES = 6  # cells where nothing is, for each that has something
LEAST_NEGATIVES = 40  # of each view
MOST_CELLS = 24_000  # that are learnt from
MEMBERS = 4  # heads that are fitted from different starts; their mean answers
LOGIT_SIDE = 3  # cells: side of the square whose logits are averaged
BOX_SIDE = 5  # cells: side of the square whose boxes are averaged
LEAST_WEIGHT = 1e-6  # of a cell's box among those around it
HARD_ROUNDS = 3
HARD_SCORE = 0.15  # from which a cell where nothing is was taken for something
MOST_HARD = 40  # cells of a view in one round
BACKGROUND, IGNORED = 0, -1  # targets of cells; classes are from 1
SEED = 20231
LEAST_DISTANCE = 0.05  # of a side from a cell, in cells
MOST_LOGARITHM = 5.0  # of a distance in cells: 148, more than any map has
MOST_LOGIT = 60.0  # beyond which a score is 0 or 1
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Truth:
    """The boxes of a view, in px of the network's input.

    Attributes
    ----------
    boxes : ndarray of float64, shape (N, 4)
        Left, top, right, bottom.
    classes : ndarray of int64, shape (N,)
        From 0.
    """

    boxes: NDArray[np.float64]
    classes: Ints


@dataclass(frozen=True)
class Layer:
    """``x @ weights + offsets``: a convolution of one px."""

    weights: Floats
    offsets: Floats

    def __call__(self, x: Floats) -> Floats:
        """Return what it makes of vectors, shape (N, D)."""
        found: Floats = x @ self.weights + self.offsets
        return found


@dataclass(frozen=True)
class Heads:
    """The fitted part of a detector.

    Attributes
    ----------
    reduction : Layer
        From channels of the maps to components.
    class_hidden, class_scores : Layer
        From components to hidden units, and from those, where they are positive, to a logit a
        class: how much likelier it is than nothing.
    box_hidden, box_sides : Layer
        The same for the logarithms of the distances to left, top, right and bottom, in cells.
    offset : float
        Of the logits, before they become scores.
    """

    reduction: Layer
    class_hidden: Layer
    class_scores: Layer
    box_hidden: Layer
    box_sides: Layer
    offset: float = 0.0

    def logits(self, seen: Floats) -> Floats:
        """Return a logit a class for the components of each cell, shape (N, K)."""
        return self.class_scores(np.maximum(self.class_hidden(seen), 0))

    def distances(self, seen: Floats) -> Floats:
        """Return the distances to the sides for each cell, in cells, shape (N, 4)."""
        sides = self.box_sides(np.maximum(self.box_hidden(seen), 0))
        found: Floats = np.exp(np.minimum(sides, MOST_LOGARITHM))
        return found

    def scores(self, logits: Floats) -> NDArray[np.float64]:
        """Return scores, 0 to 1, for logits."""
        return sigmoid(logits + np.float32(self.offset))


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x))."""
    found: NDArray[np.float64] = 1 / (
        1 + np.exp(-np.clip(x.astype(np.float64), -MOST_LOGIT, MOST_LOGIT))
    )
    return found


def averaged(logits: Floats, shape: tuple[int, int]) -> Floats:
    """Return the mean of each cell's logits and those of the cells around it.

    Parameters
    ----------
    logits : ndarray of float32, shape (rows * columns, K)
        Cell by cell.
    shape : tuple of int
        Rows and columns. At the border, only cells that are there count.
    """
    there = np.ones((len(logits), 1), np.float32)
    return _summed(logits, shape, LOGIT_SIDE) / _summed(there, shape, LOGIT_SIDE)


def boxes_of(logits: Floats, distances: Floats, shape: tuple[int, int], stride: int) -> Floats:
    """Return the box of each cell: the mean of those around it, the surer the heavier.

    Parameters
    ----------
    logits : ndarray of float32, shape (rows * columns, K)
        From `averaged`.
    distances : ndarray of float32, shape (rows * columns, 4)
        From each cell to left, top, right and bottom, in cells.
    shape : tuple of int
        Rows and columns.
    stride : int
        Of the maps, px.

    Returns
    -------
    ndarray of float32, shape (rows * columns, 4)
        Left, top, right, bottom, px.
    """
    places = centres(*shape, stride).astype(np.float32)
    away = np.float32(stride) * distances
    boxes = np.hstack([places - away[:, :2], places + away[:, 2:]])
    weights = (sigmoid(logits.max(axis=1, keepdims=True)) + LEAST_WEIGHT).astype(np.float32)
    return _summed(weights * boxes, shape, BOX_SIDE) / _summed(weights, shape, BOX_SIDE)


def _summed(values: Floats, shape: tuple[int, int], side: int) -> Floats:
    """Return sums over squares around each cell; what is outside of the map counts nothing."""
    planes = np.ascontiguousarray(values, np.float32).reshape(*shape, -1)
    kernel, nothing = (side, side), cv2.BORDER_CONSTANT
    found = cv2.boxFilter(planes, -1, kernel, normalize=False, borderType=nothing)
    return np.asarray(found, np.float32).reshape(values.shape)


def centres(rows: int, columns: int, stride: int) -> NDArray[np.float64]:
    """Return the centre of each cell of a map, in px, row by row, shape (N, 2)."""
    y, x = np.mgrid[:rows, :columns]
    found: NDArray[np.float64] = stride * (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5)
    return found


def targets(truth: Truth, rows: int, columns: int, stride: int) -> tuple[Ints, Ints]:
    """Return what each cell of a map learns, and which box it is of, -1 for none.

    Where boxes overlap, the smaller one counts. A box too small for any cell has the cell that its
    centre is in.
    """
    places = centres(rows, columns, stride)
    learnt = np.zeros(len(places), np.int64)
    owner = np.full(len(places), -1, np.int64)
    if not len(truth.boxes):
        return learnt, owner
    areas = np.prod(truth.boxes[:, 2:] - truth.boxes[:, :2], axis=1)
    for index in np.argsort(-areas, kind="stable"):
        left, top, right, bottom = truth.boxes[index]
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
        halves = np.array([right - left, bottom - top]) / 2
        away = np.abs(places - middle)
        doubtful = (away <= np.maximum(DOUBTFUL * halves, stride)).all(axis=1)
        learnt[doubtful & (owner < 0)] = IGNORED
        central = (away <= np.maximum(CENTRAL * halves, stride / 2)).all(axis=1)
        learnt[central] = truth.classes[index] + 1
        owner[central] = index
    return learnt, owner


@dataclass(frozen=True)
class Cells:
    """Cells that are learnt from.

    Attributes
    ----------
    vectors : ndarray of float32, shape (N, D)
        Components of the maps.
    classes : ndarray of int64, shape (N,)
        `BACKGROUND`, or the class from 1.
    sides : ndarray of float32, shape (N, 4)
        Logarithms of the distances to the sides of the box, in cells; 0 where there is none.
    """

    vectors: Floats
    classes: Ints
    sides: Floats

    @classmethod
    def joined(cls, parts: Sequence["Cells"]) -> "Cells":
        """Return several together."""
        return cls(
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.sides for part in parts]),
        )

    @classmethod
    def none(cls, depth: int) -> "Cells":
        """Return no cells, of maps with so many channels."""
        nothing = np.zeros((0, depth), np.float32)
        return cls(nothing, np.zeros(0, np.int64), np.zeros((0, 4), np.float32))

    def at_most(self, count: int) -> "Cells":
        """Return no more than so many, evenly taken."""
        if len(self.classes) <= count:
            return self
        order = np.random.default_rng(SEED).permutation(len(self.classes))
        kept = np.sort(order[:count])
        return Cells(self.vectors[kept], self.classes[kept], self.sides[kept])


@dataclass(frozen=True)
class Scene:
    """A view that is learnt from.

    Attributes
    ----------
    seen : ndarray of float16, shape (rows * columns, D)
        Components of its maps, cell by cell.
    shape : tuple of int
        Rows and columns.
    truth : Truth
        Objects in it.
    """

    seen: NDArray[np.float16]
    shape: tuple[int, int]
    truth: Truth


def chosen_cells(truth: Truth, shape: tuple[int, int], stride: int, seed: Sequence[int]) -> Ints:
    """Return cells of a view to learn from: some of each box, and some where nothing is.

    Parameters
    ----------
    truth : Truth
        Objects in the view.
    shape : tuple of int
        Rows and columns of its maps.
    stride : int
        Of the maps, px.
    seed : sequence of int
        Of the choice.
    """
    rng = np.random.default_rng([SEED, *seed])
    learnt, owner = targets(truth, *shape, stride)
    positive: list[int] = []
    for index in range(len(truth.boxes)):
        own = np.flatnonzero(owner == index)
        positive += rng.permutation(own)[:POSITIVES_OF_A_BOX].tolist()
    empty = np.flatnonzero(learnt == BACKGROUND)
    count = max(LEAST_NEGATIVES, NEGATIVES * len(positive))
    return np.array([*positive, *rng.permutation(empty)[:count].tolist()], np.int64)


def cells_of(scene: Scene, stride: int, chosen: Ints) -> Cells:
    """Return some cells of a scene with what they learn."""
    learnt, owner = targets(scene.truth, *scene.shape, stride)
    sides = np.zeros((len(chosen), 4), np.float32)
    owned = np.flatnonzero(owner[chosen] >= 0)
    if len(owned):
        places = centres(*scene.shape, stride)[chosen[owned]]
        boxes = scene.truth.boxes[owner[chosen[owned]]]
        away = np.hstack([places - boxes[:, :2], boxes[:, 2:] - places]) / stride
        sides[owned] = np.log(np.maximum(away, LEAST_DISTANCE))
    return Cells(scene.seen[chosen].astype(np.float32), learnt[chosen], sides)


def hard_negatives(scene: Scene, stride: int, heads: Heads) -> Cells:
    """Return cells of a scene where nothing is and heads see something, the surest of them."""
    learnt, _ = targets(scene.truth, *scene.shape, stride)
    scores = heads.scores(heads.logits(scene.seen.astype(np.float32))).max(axis=1)
    scores[learnt != BACKGROUND] = 0
    surest = np.argsort(-scores, kind="stable")[:MOST_HARD]
    return cells_of(scene, stride, surest[scores[surest] >= HARD_SCORE])


def fit_on(scenes: Sequence[Scene], classes: int, stride: int, reduction: Layer) -> Heads | None:
    """Fit heads to scenes, and again with what they wrongly saw; None where a class lacks boxes."""
    parts = [
        cells_of(scene, stride, chosen_cells(scene.truth, scene.shape, stride, [number]))
        for number, scene in enumerate(checked(scenes))
    ]
    cells = Cells.joined(parts) if parts else Cells.none(1)
    if set(cells.classes.tolist()) != set(range(classes + 1)):
        return None
    heads = fit(cells, classes, reduction)
    for number in range(HARD_ROUNDS):
        checkpoint()
        cells = Cells.joined([cells, *(hard_negatives(s, stride, heads) for s in checked(scenes))])
        last = number + 1 == HARD_ROUNDS
        heads = fit(cells, classes, reduction, members=MEMBERS if last else 1)
    return heads


def fit(cells: Cells, classes: int, reduction: Layer, *, members: int = 1) -> Heads:
    """Fit heads to cells.

    Parameters
    ----------
    cells : Cells
        Each class is there, and some where nothing is.
    classes : int
        How many there are.
    reduction : Layer
        From `components`; the cells have been through it.
    members : int
        How many times each head is fitted, from different starts; the mean is returned.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  (takes a second)

    used = cells.at_most(MOST_CELLS)
    owned = np.flatnonzero(used.classes > BACKGROUND)
    kinds, sides = [], []
    with threadpool_limits(1):
        for seed in range(SEED, SEED + members):
            checkpoint()
            kinds.append(_class_head(used.vectors, used.classes, classes, seed))
            checkpoint()
            sides.append(_box_head(used.vectors[owned], used.sides[owned], seed))
    return Heads(reduction, *_mean(kinds), *_mean(sides))


def _mean(heads: Sequence[tuple[Layer, Layer]]) -> tuple[Layer, Layer]:
    """Return one head with the hidden units of all, which answers what they answer on average."""
    first = Layer(
        np.concatenate([hidden.weights for hidden, _ in heads], axis=1),
        np.concatenate([hidden.offsets for hidden, _ in heads]),
    )
    weights = np.concatenate([last.weights for _, last in heads]) / len(heads)
    offsets = np.sum([last.offsets for _, last in heads], axis=0) / len(heads)
    return first, Layer(weights.astype(np.float32), offsets.astype(np.float32))


def components(vectors: Floats) -> Layer:
    """Return whitened principal components of vectors, shape (N, D)."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  (takes a second)

    with threadpool_limits(1):
        return _components(vectors)


def _components(vectors: Floats) -> Layer:
    centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.maximum(vectors.std(axis=0, dtype=np.float64), LEAST_SPREAD).astype(np.float32)
    scaled = (vectors - centre) / spread
    covariance = (scaled.T @ scaled).astype(np.float64) / len(scaled)
    values, directions = np.linalg.eigh(covariance)
    count = min(COMPONENTS, len(values), len(vectors) - 1)
    order = np.argsort(-values, kind="stable")[:count]
    # The sign of a direction is free: the largest entry is positive, wherever it is computed.
    chosen = directions[:, order]
    chosen *= np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(count)])
    # As much as noise has is added, so that directions of next to no spread do not grow.
    floor = values[order].mean() * 0.05
    weights = chosen / np.sqrt(np.maximum(values[order], 0) + floor) / spread[:, np.newaxis]
    reduced = weights.astype(np.float32)
    return Layer(reduced, -(centre @ reduced))


def _options(count: int, seed: int) -> dict[str, Any]:
    """Return the options of both heads, for so many samples."""
    return {
        "hidden_layer_sizes": (HIDDEN,),
        "batch_size": min(BATCH, count),
        "learning_rate_init": RATE,
        "max_iter": EPOCHS,
        "n_iter_no_change": EPOCHS,
        "random_state": seed,
    }


def _class_head(seen: Floats, learnt: Ints, classes: int, seed: int) -> tuple[Layer, Layer]:
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415  (takes a second)

    fitted = MLPClassifier(alpha=DECAY, **_options(len(seen), seed))
    _fit(fitted, seen, learnt)
    first, second = _layers(fitted)
    if classes == 1:  # one logit: of the class against nothing
        return first, second
    # A softmax with nothing among the classes: logits against nothing are differences.
    weights = second.weights[:, 1:] - second.weights[:, :1]
    return first, Layer(weights, second.offsets[1:] - second.offsets[:1])


def _box_head(seen: Floats, sides: Floats, seed: int) -> tuple[Layer, Layer]:
    from sklearn.neural_network import MLPRegressor  # noqa: PLC0415  (takes a second)

    centre, spread = sides.mean(axis=0), np.maximum(sides.std(axis=0), 0.1)
    fitted = MLPRegressor(alpha=SIDES_DECAY, **_options(len(seen), seed))
    _fit(fitted, seen, (sides - centre) / spread)
    first, second = _layers(fitted)
    return first, Layer(second.weights * spread, second.offsets * spread + centre)


def _fit(model: object, seen: Floats, wanted: NDArray[np.generic]) -> None:
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so many epochs may not be the end
        model.fit(seen, wanted)  # type: ignore[attr-defined]


def _layers(model: object) -> tuple[Layer, Layer]:
    weights, offsets = model.coefs_, model.intercepts_  # type: ignore[attr-defined]
    first, second = (
        Layer(w.astype(np.float32), b.astype(np.float32))
        for w, b in zip(weights, offsets, strict=True)
    )
    return first, second
