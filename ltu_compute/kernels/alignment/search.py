"""Find the homography between two images by their keypoints.

SIFT is tried where ORB fails, then fainter keypoints, and then other sizes and viewpoints; see
`views`. The agreement of the pixels decides.
"""

from dataclasses import replace

from ltu_compute.kernels.alignment.matches import (
    MIN_HINT,
    Matches,
    count_places,
    distinct,
    fit_homography,
    is_sufficient,
)
from ltu_compute.kernels.alignment.pair import Pair
from ltu_compute.kernels.alignment.precision import MAX_EXPECTED_ERROR
from ltu_compute.kernels.alignment.refinement import REFINEMENT_SIZE, at_full_size
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.alignment.verification import (
    MANY_INLIERS,
    MIN_AGREEMENT_FEW,
    min_share_of,
    verified,
)
from ltu_compute.kernels.alignment.views import matches_from, search_views, view_from
from ltu_compute.kernels.alignment.voting import (
    MIN_PLACES,
    Candidates,
    is_ambiguous,
    is_oblique_pattern,
    possible_matches,
    similarity_by_votes,
)
from ltu_compute.kernels.homography import (
    is_plausible,
    size_of,
)
from ltu_compute.kernels.keypoints import (
    Keypoints,
    descriptor_distances,
    detect_keypoints,
    detect_orb_keypoints,
    match_keypoints,
)
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray, Mask

_MANY_KEYPOINTS = 2000  # most keypoints of an image when faint ones are searched for


def align(
    gray1: Gray,
    gray2: Gray,
    *,
    keypoints1: Keypoints | None = None,
    keypoints2: Keypoints | None = None,
    region1: Mask | None = None,
    oblique: bool = False,
    max_expected: float = MAX_EXPECTED_ERROR,
) -> Alignment | None:
    """Find the homography that maps image 1 onto image 2, or say that there is none.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, at the size to search at; a longest side of 512 px is a good one.
    keypoints1, keypoints2 : Keypoints, optional
        Their keypoints, if known already: no others are looked for then.
    region1 : ndarray of uint8, shape (H, W), optional
        Region of image 1 that decides, 255 within; `keypoints1` must be in it. Where it is
        given, so are the keypoints.
    oblique : bool
        Whether to look for shots from the side, too, where nothing else is found. That takes about
        twice the time.
    max_expected : float
        Greatest expected error of the matrix, as a share of the longest side of image 2.

    Returns
    -------
    Alignment or None
        In px of the arrays given. None where the images do not show the same thing, or it is
        mirrored. Also None where there is too little to decide, or several answers are as good:
        blank and repetitive images.
    """
    given = keypoints1 is not None or keypoints2 is not None
    if region1 is not None and keypoints1 is None:
        raise ValueError("a region needs the keypoints in it")
    pair = Pair(gray1, gray2, region1, max_expected)
    attempt = None if given else _quick_attempt(pair)
    if attempt is None:
        keypoints1 = detect_keypoints(gray1) if keypoints1 is None else keypoints1
        keypoints2 = detect_keypoints(gray2) if keypoints2 is None else keypoints2
        attempt = _attempt(pair, keypoints1, keypoints2)
    if attempt is None and not given:
        attempt = _attempt(
            pair,
            detect_keypoints(gray1, limit=_MANY_KEYPOINTS, faint=True),
            detect_keypoints(gray2, limit=_MANY_KEYPOINTS, faint=True),
            distinctive_only=True,
        )
    if attempt is not None:
        found, candidates = attempt
        if is_ambiguous(pair, found, candidates) or is_oblique_pattern(
            pair, found, keypoints1, keypoints2
        ):
            return None
        return found
    return None if given else search_views(pair, oblique=oblique)


def align_exactly(gray1: Gray, gray2: Gray, *, longest: int) -> Alignment | None:
    """Find a homography on reduced images, and make it exact on these.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images; beyond `REFINEMENT_SIZE` px they add nothing.
    longest : int
        Longest side of the images that are searched, in px.

    Returns
    -------
    Alignment or None
        In px of the arrays given. None as of `align`, and where the matrix does not hold here.
    """
    small1, small2 = reduced(gray1, longest), reduced(gray2, longest)
    # At full size a track is as exact in px, and the matrix is judged again.
    finer = max(1.0, min(max(gray2.shape), REFINEMENT_SIZE) / max(small2.shape))
    found = align(small1, small2, oblique=True, max_expected=finer * MAX_EXPECTED_ERROR)
    if found is None:
        return None
    return at_full_size(found, gray1, gray2, found_at=(size_of(small1), size_of(small2)))


def _quick_attempt(pair: Pair) -> tuple[Alignment, Candidates] | None:
    """Align by ORB, in a fraction of the time of SIFT, where that gives plenty of inliers."""
    keypoints1, keypoints2 = detect_orb_keypoints(pair.gray1), detect_orb_keypoints(pair.gray2)
    if min(len(keypoints1), len(keypoints2)) < MANY_INLIERS:
        return None
    size1, size2 = pair.size1, pair.size2
    distances = descriptor_distances(keypoints1, keypoints2)
    pairs = match_keypoints(keypoints1, keypoints2, distances=distances)
    points1, points2 = distinct(keypoints1.points[pairs[:, 0]], keypoints2.points[pairs[:, 1]])
    fitted = fit_homography(points1, points2, threshold_px=3.0)
    if fitted is None or fitted[1].sum() < max(MANY_INLIERS, 0.5 * len(points1)):
        return None
    matrix, inliers = fitted
    if not (
        is_plausible(matrix, size1, size2) and is_sufficient(matrix, inliers, points1, size1, size2)
    ):
        return None
    agreeing = (points1[inliers], points2[inliers])
    found = verified(pair, matrix, agreeing)
    if found is None or not found.residual_px < 1:
        return None
    candidates = possible_matches(keypoints1, keypoints2, distances)
    return replace(found, matches=len(points1), method="orb"), candidates


def _attempt(
    pair: Pair,
    keypoints1: Keypoints,
    keypoints2: Keypoints,
    *,
    distinctive_only: bool = False,
) -> tuple[Alignment, Candidates] | None:
    """Align by these keypoints; return all their possible matches too."""
    if min(len(keypoints1), len(keypoints2)) < MIN_PLACES:
        return None
    distances = descriptor_distances(keypoints1, keypoints2)
    pairs = match_keypoints(keypoints1, keypoints2, distances=distances)
    matches = distinct(keypoints1.points[pairs[:, 0]], keypoints2.points[pairs[:, 1]])
    found = _by_homography(pair, matches, keypoints2)
    if found is None and distinctive_only:
        return None
    candidates = possible_matches(keypoints1, keypoints2, distances)
    if found is None:
        found = _by_similarity(pair, candidates)
    return None if found is None else (found, candidates)


def _by_homography(pair: Pair, matches: Matches, keypoints2: Keypoints) -> Alignment | None:
    """Align by distinctive matches, where there are enough of them."""
    size1, size2 = pair.size1, pair.size2
    hint = fit_homography(*matches, threshold_px=3.0)
    if hint is None or hint[1].sum() < MIN_HINT or not is_plausible(hint[0], size1, size2):
        return None
    if not is_sufficient(*hint, matches[0], size1, size2):
        # Too few to be sure, perhaps because of the viewpoint: match again from that viewpoint.
        view = view_from(pair, hint[0], limit=max(1000, len(keypoints2)))
        matches = matches_from(view, hint[0], keypoints2)
        hint = fit_homography(*matches, threshold_px=3.0)
        if hint is None or not is_plausible(hint[0], size1, size2):
            return None
        if not is_sufficient(*hint, matches[0], size1, size2):
            return None
    matrix, inliers = hint
    agreeing = (matches[0][inliers], matches[1][inliers])
    checked = verified(pair, matrix, agreeing, min_share=min_share_of(len(agreeing[0])))
    return None if checked is None else replace(checked, matches=len(matches[0]))


def _by_similarity(pair: Pair, candidates: Candidates) -> Alignment | None:
    """Align images poor in distinctive keypoints, such as drawings and plain parts.

    Every keypoint may have several partners, which vote for a turn, a scale and a shift. Tracking
    adds the perspective, and the pixels must agree more closely.
    """
    voted = similarity_by_votes(candidates, 0.01 * max(pair.size2))
    if voted is None or voted[2] < MIN_PLACES:
        return None
    matrix, inliers, _ = voted
    if not is_plausible(matrix, pair.size1, pair.size2):
        return None
    matches = distinct(candidates.points1[inliers], candidates.points2[inliers])
    checked = verified(pair, matrix, matches, min_agreement=MIN_AGREEMENT_FEW, min_share=1.0)
    if checked is None:
        return None
    return replace(checked, matches=count_places(candidates.points1))
