"""Pictures of what an inspection found: the shot with boxes, and close-ups before and after."""

from collections.abc import Sequence

import cv2
import numpy as np

from ltu_compute.image import Image
from ltu_compute.image.encoding import jpeg
from ltu_compute.kernels.homography import rescale_homography
from ltu_compute.kernels.types import Bgr, Box, Matrix, Size

ANNOTATED_PX = 1600  # longest side of the annotated shot
CLOSEUP_SOURCE_PX = 2048  # longest side at which close-ups are cut out
TILE = Size(216, 162)  # px of one close-up
MAX_CLOSEUPS = 6  # differences of a shot that are shown close up, the largest
CONTEXT = 0.6  # of the box, shown on each side of it
LEAST_CONTEXT_PX = 20  # of the picture that it is cut from, shown on each side of the box
QUALITY = 85  # of JPEG
RED = (40, 40, 230)  # BGR
WHITE = (255, 255, 255)


def annotated(shot: Image, boxes: Sequence[Box]) -> bytes:
    """Return the shot with a numbered box around each difference, as JPEG.

    Parameters
    ----------
    shot : Image
        The picture.
    boxes : sequence of Box
        In px of the original; the first is number 1.
    """
    size = shot.fitted(ANNOTATED_PX)
    picture = np.array(shot.fit(ANNOTATED_PX))
    x_scale, y_scale = size.width / shot.width, size.height / shot.height
    line = max(1, round(max(size) / 600))
    outline = 2 * line + 1
    drawn = [
        (
            round(box.x * x_scale) - outline,
            round(box.y * y_scale) - outline,
            round((box.x + box.width) * x_scale) + outline,
            round((box.y + box.height) * y_scale) + outline,
        )
        for box in boxes
    ]
    for color, thickness in ((WHITE, line + 2), (RED, line)):
        for left, top, right, bottom in drawn:
            cv2.rectangle(picture, (left, top), (right, bottom), color, thickness, cv2.LINE_AA)
    scale = max(0.4, max(size) / 1600)
    for number, (left, top, _, bottom) in enumerate(drawn, 1):
        text = str(number)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, line)
        # Above the box; below it where there is no room.
        y = top - outline if top - outline - height > 0 else bottom + outline + height
        x = int(np.clip(left, 0, size.width - width))
        for color, thickness in ((WHITE, line + 3), (RED, line)):
            cv2.putText(
                picture,
                text,
                (x, y),
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                color,
                thickness,
                cv2.LINE_AA,
            )
    return jpeg(np.asarray(picture, np.uint8), quality=QUALITY)


def closeups(
    reference: Image, shot: Image, boxes: Sequence[tuple[Box, Box]], matrix: Matrix
) -> bytes:
    """Return close-ups of the first differences as one JPEG, as the reference sees both.

    Parameters
    ----------
    reference, shot : Image
        The pair.
    boxes : sequence of (Box, Box)
        Of each difference on the reference and on the shot, in px of the originals.
    matrix : ndarray of float64, shape (3, 3)
        Maps px of the reference to px of the shot.

    Returns
    -------
    bytes
        `TILE` high for each of the first `MAX_CLOSEUPS` differences, two `TILE` wide: the
        reference on the left, the shot on the right; b"" without differences.
    """
    if not boxes:
        return b""
    sizes = reference.fitted(CLOSEUP_SOURCE_PX), shot.fitted(CLOSEUP_SOURCE_PX)
    before, after = reference.fit(CLOSEUP_SOURCE_PX), shot.fit(CLOSEUP_SOURCE_PX)
    to_after = rescale_homography(matrix, from_sizes=(reference.size, shot.size), to_sizes=sizes)
    x_scale, y_scale = sizes[0].width / reference.width, sizes[0].height / reference.height
    rows = []
    for on_reference, _ in boxes[:MAX_CLOSEUPS]:
        box = (
            on_reference.x * x_scale,
            on_reference.y * y_scale,
            on_reference.width * x_scale,
            on_reference.height * y_scale,
        )
        to_tile = _window(box)
        tiles = [_cut(before, to_tile), _cut(after, to_tile @ np.linalg.inv(to_after))]
        for tile in tiles:
            _mark(tile, box, to_tile)
        rows.append(np.hstack(tiles))
    return jpeg(np.asarray(np.vstack(rows), np.uint8), quality=QUALITY)


def side_by_side(reference: Image, shot: Image) -> bytes:
    """Return the whole reference and the whole shot as one row of close-ups."""
    tiles = []
    for image in (reference, shot):
        picture = image.fit(max(TILE))
        height, width = picture.shape[:2]
        scale = min(TILE.width / width, TILE.height / height)
        to_tile = np.array(
            [
                [scale, 0, (TILE.width - scale * width) / 2],
                [0, scale, (TILE.height - scale * height) / 2],
                [0, 0, 1],
            ]
        )
        tiles.append(_cut(picture, to_tile))
    return jpeg(np.asarray(np.hstack(tiles), np.uint8), quality=QUALITY)


def _window(box: tuple[float, float, float, float]) -> Matrix:
    """Return the matrix that maps a box, with its surroundings, into a tile."""
    x, y, width, height = box
    shown_width = width + 2 * max(CONTEXT * width, LEAST_CONTEXT_PX)
    shown_height = height + 2 * max(CONTEXT * height, LEAST_CONTEXT_PX)
    scale = min(TILE.width / shown_width, TILE.height / shown_height)
    return np.array(
        [
            [scale, 0, TILE.width / 2 - scale * (x + width / 2)],
            [0, scale, TILE.height / 2 - scale * (y + height / 2)],
            [0, 0, 1],
        ]
    )


def _cut(picture: Bgr, to_tile: Matrix) -> Bgr:
    """Return the part that a matrix maps into a tile; if reduced much, by the mean of areas."""
    scale = 1 / max(1e-6, abs(float(np.linalg.det(to_tile[:2, :2]))) ** 0.5)
    if scale > 1.5:
        height, width = picture.shape[:2]
        small = Size(max(1, round(width / scale)), max(1, round(height / scale)))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
        x, y = width / small.width, height / small.height
        # Centres of pixels: the first of the small picture covers x of the large one.
        to_tile = to_tile @ np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    tile = cv2.warpPerspective(
        picture,
        to_tile,
        TILE,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(236, 236, 236),
    )
    return np.asarray(tile, np.uint8)


def _mark(tile: Bgr, box: tuple[float, float, float, float], to_tile: Matrix) -> None:
    """Draw the corners of a box, outside of it, so that nothing of the difference is hidden."""
    x, y, width, height = box
    scale = float(to_tile[0, 0])
    left, top = to_tile[0, 2] + scale * x - 4, to_tile[1, 2] + scale * y - 4
    right, bottom = left + scale * width + 8, top + scale * height + 8
    length = max(5, round(min(right - left, bottom - top) / 5))
    for color, thickness in ((WHITE, 3), (RED, 1)):
        for cx, dx in ((round(left), length), (round(right), -length)):
            for cy, dy in ((round(top), length), (round(bottom), -length)):
                cv2.line(tile, (cx, cy), (cx + dx, cy), color, thickness, cv2.LINE_AA)
                cv2.line(tile, (cx, cy), (cx, cy + dy), color, thickness, cv2.LINE_AA)
