"""Homographies: map points and pictures by them, and check that they are plausible."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr, Gray, Mask, Matrix, Points, Size

_MAX_SCALE = 10.0  # greatest factor of lengths, anywhere in the image
_MIN_OVERLAP = 0.02  # least share of the smaller image that both show


def inverse(matrix: Matrix) -> Matrix:
    """Return the homography that leads back.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Homography, invertible.

    Returns
    -------
    inverse : ndarray of float64, shape (3, 3)
        Its matrix inverse, not scaled: ``matrix @ inverse`` is the identity itself and not a
        multiple of it.

    Raises
    ------
    ValueError
        If the matrix has no inverse.
    """
    try:
        return np.linalg.inv(matrix).astype(np.float64)
    except np.linalg.LinAlgError:
        raise ValueError("the matrix is singular") from None


def rescale_homography(
    matrix: Matrix, *, from_sizes: tuple[Size, Size], to_sizes: tuple[Size, Size]
) -> Matrix:
    """Convert a homography to other sizes of the same two images.

    The centre of the first pixel is (0, 0), as everywhere in OpenCV, so an image that is resized
    by s maps x to (x + 0.5) s - 0.5.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    from_sizes, to_sizes : tuple of Size
        Sizes of image 1 and image 2 to which `matrix` refers, and those for the result.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        The same mapping between the images at the other sizes; ``[2, 2] == 1``.
    """
    into1 = resizing(to_sizes[0], from_sizes[0])
    out2 = resizing(from_sizes[1], to_sizes[1])
    rescaled: Matrix = out2 @ matrix @ into1
    rescaled /= rescaled[2, 2]
    return rescaled


def warp_onto(image1: Bgr, matrix: Matrix, size2: Size) -> Bgr:
    """Show image 1 as image 2 sees it.

    Parameters
    ----------
    image1 : ndarray of uint8, shape (H, W, 3) or (H, W)
        The image to warp.
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    size2 : Size
        Size of image 2.

    Returns
    -------
    ndarray of uint8, of `size2`
        Image 1 seen from image 2; white where image 1 shows nothing.
    """
    if np.array_equal(matrix, np.eye(3)) and size2 == size_of(image1):
        return image1
    smoothed = _without_aliases(image1, matrix)
    warped = cv2.warpPerspective(
        smoothed,
        matrix,
        size2,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
    return np.asarray(warped, np.uint8)


def overlap_mask(matrix: Matrix, size1: Size, size2: Size) -> Mask:
    """Return where image 2 shows what image 1 shows: 255 in px of image 2."""
    inside = np.full((size1.height, size1.width), 255, np.uint8)
    if size1 == size2 and np.array_equal(matrix, np.eye(3)):
        return inside
    warped = cv2.warpPerspective(inside, matrix, size2, flags=cv2.INTER_LINEAR)
    mask: Mask = np.where(warped == 255, np.uint8(255), np.uint8(0))
    return mask


def warp_mask_onto(mask1: Mask, matrix: Matrix, size2: Size) -> Mask:
    """Return a mask of image 1 as image 2 sees it: 255 or 0, and 0 where image 1 shows nothing."""
    warped = cv2.warpPerspective(mask1, matrix, size2, flags=cv2.INTER_NEAREST)
    return np.asarray(warped, np.uint8)


def map_points(points: Points | NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """Return `points`, shape (N, 2), as `matrix` maps them."""
    if len(points) == 0:
        return np.zeros((0, 2))
    mapped = cv2.perspectiveTransform(np.asarray(points, np.float64)[None], matrix)
    return np.asarray(mapped[0], np.float64)


def is_plausible(matrix: Matrix, size1: Size, size2: Size) -> bool:
    """Return whether a matrix can be the view of one flat thing in two shots.

    It must neither mirror nor fold image 1, keep its corners convex, scale it nowhere beyond
    tenfold, and leave some of it in image 2.
    """
    if not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-12:
        return False
    corners = corners_of(size1)
    depth = corners @ matrix[2, :2] + matrix[2, 2]
    # The line at infinity must not cross image 1; a corner ten times as far nearly folds it.
    if (depth <= 0).any() or depth.max() > 10 * depth.min():
        return False
    areas = np.linalg.det(matrix) / depth**3  # the Jacobian's determinant at each corner
    if (areas < _MAX_SCALE**-2).any() or (areas > _MAX_SCALE**2).any():
        return False
    mapped = map_points(corners, matrix).astype(np.float32)
    if not cv2.isContourConvex(mapped):
        return False
    shared, _ = cv2.intersectConvexConvex(mapped, corners_of(size2).astype(np.float32))
    smaller = min(cv2.contourArea(mapped), float(size2.width * size2.height))
    return bool(shared >= _MIN_OVERLAP * smaller)


def corners_of(size: Size) -> NDArray[np.float64]:
    """Return the corners of the area that the pixels cover, clockwise from the top left."""
    right, bottom = size.width - 0.5, size.height - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def resizing(from_size: Size, to_size: Size) -> Matrix:
    """Return the matrix of an image that is resized."""
    x = to_size.width / from_size.width
    y = to_size.height / from_size.height
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1.0]])


def scale_at_centre(matrix: Matrix, size: Size) -> float:
    """Return the factor by which the matrix scales lengths in the middle of an image."""
    centre = np.array([(size.width - 1) / 2, (size.height - 1) / 2, 1.0])
    depth = float(matrix[2] @ centre)
    area = abs(np.linalg.det(matrix) / depth**3) if depth else 0.0
    return float(np.sqrt(area))


def obliqueness(matrix: Matrix, size: Size) -> float:
    """Return by how much a matrix departs from a similarity: 1 for one, and growing.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Homography that is plausible for an image.
    size : Size
        Size of that image, in px.

    Returns
    -------
    float
        Greatest factor by which lengths at the corners and the centre of the image are scaled over
        the least one, in any direction.
    """
    corners = corners_of(size)
    places = np.vstack([corners, corners.mean(axis=0)])
    depth = places @ matrix[2, :2] + matrix[2, 2]
    seen = map_points(places, matrix)
    jacobians = matrix[:2, :2] - seen[:, :, None] * matrix[2, :2]
    scales = np.linalg.svd(jacobians / depth[:, None, None], compute_uv=False)
    return float(scales.max() / scales.min())


def _without_aliases(image: Bgr, matrix: Matrix) -> Bgr:
    """Return an image blurred as the matrix makes it smaller, so that texture does not alias."""
    scale = scale_at_centre(matrix, Size(image.shape[1], image.shape[0]))
    if not 0 < scale < 0.8:
        return image
    sigma = 0.5 * np.sqrt(scale**-2 - 1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def size_of(gray: Gray) -> Size:
    """Return the size of an image."""
    return Size(gray.shape[1], gray.shape[0])
