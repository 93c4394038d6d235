"""Moderation of one image: unsafe content."""

from ltu_compute.image import Image
from ltu_compute.recognisers import unsafe
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.unsafe import UnsafeContent


def unsafe_content(image: Image, recognisers: Recognisers) -> UnsafeContent:
    """Return what the installed models say of an image; see `recognisers.unsafe`.

    Raises
    ------
    NotInstalled
        They are not installed; the message names the command.
    ModelFailed
        One of them failed.
    """
    pixels = image.fit(unsafe.WORKING_SIZE)
    return unsafe.rate(pixels, recognisers.models, release_slot=recognisers.release_slot)
