"""Image: a file that was checked, decoded when its pixels are asked for.

Every file is hostile until shown otherwise, so its structure is walked first, with bounded
effort and without decoding a pixel: that gives the size, the orientation, and certainty that
the file is whole. Only the parts that make up the first picture then reach a decoder; metadata,
texts and further frames never do. TurboJPEG decodes JPEG, Pillow the others (OpenCV's PNG decoder
has crashed on animated files).

Embedded colour profiles are converted to sRGB (see `profiles`), but for those of GIF; values
without one are sRGB. Of an animation or of several pages the first picture counts.
"""

from collections.abc import Callable, Collection
from typing import Literal

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ltu_compute.errors import TooManyPixels, UnreadableImage, UnsupportedFormat
from ltu_compute.image.formats import COMMON, Format, described, format_of, listed
from ltu_compute.image.geometry import fitted, oriented, resized
from ltu_compute.image.gif import decode_gif, walk_gif
from ltu_compute.image.jpeg import decode_jpeg, walk_jpeg
from ltu_compute.image.png import decode_png, walk_png
from ltu_compute.image.profiles import Conversion, Model, conversion_to_srgb, converted_bgr
from ltu_compute.image.samples import Frame, mask_of, pixels_of
from ltu_compute.image.structure import Admit, CorruptPixelsError, MalformedError, Structure
from ltu_compute.image.tiff import decode_tiff, walk_tiff
from ltu_compute.image.webp import decode_webp, walk_webp
from ltu_compute.kernels.resizing import brightest_channel
from ltu_compute.kernels.types import Bgr, Gray, Mask, Size

PIL.Image.MAX_IMAGE_PIXELS = None  # the limit is `max_pixels`, checked before a decoder is called

MAX_SIDE = 32_766
"""Longest side accepted, in px: what OpenCV can turn and warp."""

_NEARLY = 0.95  # of the size asked for, that a JPEG may have where it is decoded to that at once

_SAME_EXPOSURE = 4.0  # times as bright, at most, are two shots that were written alike
_LEVEL_PIXELS = 10_000  # pixels that suffice for the level of an image
_KEPT_PIXELS = 16_000_000  # results up to this size are kept for the next caller

_WALKS: dict[Format, Callable[[bytes, Admit], Structure]] = {
    "JPEG": walk_jpeg,
    "PNG": walk_png,
    "GIF": walk_gif,
    "TIFF": walk_tiff,
    "WebP": walk_webp,
}


class Image:
    """A picture that has been checked, but not decoded: each caller decodes what it needs.

    Arrays are uint8, C-contiguous and read-only, so that several callers can share one; the same
    call gives the same pixels whatever was asked before. EXIF orientation is applied, and
    transparent pixels are laid on white.

    Attributes
    ----------
    name : str
        The parameter that held it; errors about it have this name.
    format : {"JPEG", "PNG", "GIF", "TIFF", "WebP"}
        By the first bytes.
    content : bytes
        The file.
    size : Size
        Width and height in px, after orientation.
    """

    def __init__(self, content: bytes, name: str, kind: Format, structure: Structure) -> None:
        self.content = content
        self.name = name
        self.format = kind
        self._structure = structure
        width, height = structure.size
        self.size = Size(height, width) if structure.orientation >= 5 else structure.size
        self._kept: dict[tuple[str, Size], NDArray[np.uint8]] = {}
        self._bits: int | None = None  # that samples of 16 use; None: found when they are decoded
        self._looked_at: Frame | None = None  # what was decoded to find them, for the next caller

    @property
    def has_more(self) -> bool:
        """Whether further pages of a TIFF, or frames of a PNG, follow the first picture."""
        return self._structure.more

    @classmethod
    def from_bytes(
        cls,
        content: bytes,
        *,
        max_pixels: int,
        name: str = "image",
        formats: Collection[str] = COMMON,
    ) -> "Image":
        """Check a file by its signature, structure and size, without decoding it.

        Parameters
        ----------
        content : bytes
            The file.
        max_pixels : int
            Most pixels accepted.
        name : str
            The parameter that held it.
        formats : collection of str
            Formats that are accepted, of `Format`.

        Raises
        ------
        UnsupportedFormat
            Of none of the formats.
        TooManyPixels
            The header announces more than `max_pixels`, or a side over `MAX_SIDE`.
        UnreadableImage
            Truncated or broken, as far as its structure shows; wrong pixels are found when they
            are decoded.
        """
        kind = format_of(content)
        if kind is None or kind not in formats:
            what = described(content)
            first = f"the first bytes are {content[:8].hex(' ')}" if content else "it is empty"
            found = f"but {what}: convert it to JPEG or PNG" if what else f"({first})"
            raise UnsupportedFormat(
                f"{name}: not a {listed(formats)} image {found}", parameter=name
            )

        def admit(width: int, height: int) -> None:
            if not (width and height):
                raise MalformedError(f"its header says {width} x {height} pixels")
            if width * height > max_pixels or max(width, height) > MAX_SIDE:
                raise TooManyPixels(
                    f"{name}: {width} x {height} pixels are too many, at most {max_pixels} "
                    f"and {MAX_SIDE} a side are accepted",
                    parameter=name,
                )

        try:
            structure = _WALKS[kind](content, admit)
        except MalformedError as malformed:
            raise UnreadableImage(
                f"{name}: not a readable {kind} image ({malformed})", parameter=name
            ) from None
        return cls(content, name, kind, structure)

    @property
    def is_deep(self) -> bool:
        """Whether the file has 16 bits a sample."""
        return self._structure.depth == 16

    @property
    def sample_bits(self) -> int:
        """Bits that a sample uses: 8, or 8 to 16 where a sample has 16; see `used_bits`.

        Raises
        ------
        UnreadableImage
            The pixels cannot be decoded.
        """
        if self._structure.depth < 16:
            return 8
        if self._bits is None:
            frame = self._frame()
            self._bits = frame.bits
            if self.width * self.height <= _KEPT_PIXELS:
                self._looked_at = frame
        return self._bits

    def with_sample_bits(self, bits: int) -> "Image":
        """Return the same picture, its samples of 16 bits read as of `bits`."""
        if self._structure.depth < 16 or bits == self.sample_bits:
            return self
        other = Image(self.content, self.name, self.format, self._structure)
        other._bits, other._looked_at = bits, self._looked_at
        return other

    @property
    def width(self) -> int:
        """Width in px, after orientation."""
        return self.size.width

    @property
    def height(self) -> int:
        """Height in px, after orientation."""
        return self.size.height

    def full(self) -> Bgr:
        """Return all pixels in colour, shape (height, width, 3).

        Raises
        ------
        UnreadableImage
            The pixels cannot be decoded. The other methods raise it too.
        """
        return self._pixels("colour", self.size)

    def gray(self) -> Gray:
        """Return all pixels in grey, shape (height, width)."""
        return self._pixels("grey", self.size)

    def fit(self, longest: int) -> Bgr:
        """Return the picture in colour, reduced so that no side exceeds `longest` px.

        A JPEG is decoded at the smallest scale of its cosine transform (1/8, 1/4, 1/2) that still
        covers the result, and averaged down from there. Smaller pictures stay as they are.

        Parameters
        ----------
        longest : int
            Longest side, in px, at least 1.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Of the size that `fitted` returns.
        """
        return self._pixels("colour", self.fitted(longest))

    def fit_gray(self, longest: int) -> Gray:
        """Return the picture in grey, reduced so that no side exceeds `longest` px."""
        return self._pixels("grey", self.fitted(longest))

    def fitted(self, longest: int) -> Size:
        """Return the size of `fit` and `fit_gray`.

        A JPEG may be up to a twentieth smaller than asked for, where that is a whole eighth,
        quarter or half of its size. Its cosine transform holds the means of just those areas.
        Averaging them again on another grid would double the time and blur them. So a
        picture 4000 px wide becomes 500 px wide where 512 px are allowed.

        Parameters
        ----------
        longest : int
            Longest side, in px, at least 1.
        """
        target = fitted(self.size, longest)
        if self.format == "JPEG" and target != self.size:
            for scale in (2, 4, 8):
                least, most = scale * _NEARLY * longest, scale * longest
                if least <= max(self.size) <= most and not any(px % scale for px in self.size):
                    return Size(self.width // scale, self.height // scale)
        return target

    def mask(self) -> Mask:
        """Return the picture read as a mask, shape (height, width): 0 or 255.

        A pixel counts when any of its channels is not 0 and it is not wholly transparent. So
        masks of 0 and 1 work as well as those of 0 and 255. JPEG blurs edges: there a pixel
        counts when it is more than half as bright as the brightest.
        """
        return self._pixels("mask", self.size)

    def _pixels(self, kind: Literal["colour", "grey", "mask"], target: Size) -> NDArray[np.uint8]:
        kept = self._kept.get((kind, target))
        if kept is not None:
            return kept
        if kind == "mask":
            pixels = self._decoded_mask()
        else:
            swapped = self._structure.orientation >= 5
            stored = Size(target.height, target.width) if swapped else target
            pixels = self._decoded(stored, colour=kind == "colour")
        pixels = np.ascontiguousarray(oriented(pixels, self._structure.orientation))
        pixels.flags.writeable = False
        if target.width * target.height <= _KEPT_PIXELS:
            self._kept[kind, target] = pixels
        return pixels

    def _decoded(self, target: Size, *, colour: bool) -> NDArray[np.uint8]:
        """Return pixels in sRGB as stored, before orientation, in `target` size."""
        convert = conversion_to_srgb(self._structure.profile, self._model)
        if convert is None or self._model == "CMYK":
            return self._raw(target, colour=colour, print_inks=convert)
        if self._model == "GRAY":
            levels = convert(self._raw(target, colour=False))
            return np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR)) if colour else levels
        return converted_bgr(self._raw(target, colour=True), convert, colour=colour)

    @property
    def _model(self) -> Model:
        """Colour model of the file's samples; indices of a palette are RGB."""
        if self._structure.grey:
            return "GRAY"
        return "CMYK" if self._structure.inks else "RGB"

    def _raw(
        self, target: Size, *, colour: bool, print_inks: Conversion | None = None
    ) -> NDArray[np.uint8]:
        """Return pixels by the file's own profile, before orientation, in `target` size."""
        size = self._structure.size
        scale = 1
        if self.format == "JPEG" and target != size:
            width, height = size
            scale = next(
                k for k in (8, 4, 2, 1) if k * target.width <= width and k * target.height <= height
            )
        if self.format == "JPEG":
            pixels = self._decoded_jpeg(scale, colour=colour, print_inks=print_inks)
        else:
            pixels = pixels_of(self._frame(), colour, print_inks)
        return resized(pixels, scale, size, target)

    def _decoded_mask(self) -> NDArray[np.uint8]:
        if self.format != "JPEG":
            return mask_of(self._frame(exact=True))
        brightest = brightest_channel(self._raw(self._structure.size, colour=True))
        half = int(brightest.max()) // 2
        _, mask = cv2.threshold(brightest, half, 255, cv2.THRESH_BINARY)
        return np.asarray(mask, np.uint8)

    def _picture(self) -> bytes:
        """Return the file without anything that its first picture does not need."""
        parts, head = self._structure.parts, self._structure.head
        if not head and sum(end - start for start, end in parts) == len(self.content):
            return self.content  # without a copy
        view = memoryview(self.content)
        return b"".join([head, *(view[start:end] for start, end in parts)])

    def _decoded_jpeg(
        self, scale: int, *, colour: bool, print_inks: Conversion | None
    ) -> NDArray[np.uint8]:
        try:
            return decode_jpeg(
                self._picture(), self._structure, scale, colour=colour, print_inks=print_inks
            )
        except CorruptPixelsError:
            raise self._unreadable() from None

    def _frame(self, *, exact: bool = False) -> Frame:
        """Decode what is no JPEG; `exact` where all bits of 16-bit colour are needed."""
        try:
            if self.format == "GIF":
                return Frame(decode_gif(self._picture(), self._structure))
            if self.format == "WebP":
                return Frame(decode_webp(self._picture(), self._structure))
            frame, self._looked_at = self._looked_at, None
            if self.format == "TIFF":
                return decode_tiff(
                    self._picture(), self._structure, bits=self._bits, exact=exact, kept=frame
                )
            return decode_png(
                self.content, self._structure, bits=self._bits, exact=exact, kept=frame
            )
        except CorruptPixelsError:
            raise self._unreadable() from None

    def _unreadable(self) -> UnreadableImage:
        return UnreadableImage(
            f"{self.name}: not a readable {self.format} image (truncated or corrupt pixels)",
            parameter=self.name,
        )


def alike(*images: Image) -> tuple[Image, ...]:
    """Return images that are to be compared, those of 16 bits a sample read with one range.

    Each would otherwise be read with its own, so that a shot with a reflection in it would be
    darker all over than its reference. Files that hold samples differently, one in the low bits and
    one in the high bits, keep their own: with one range, the first would be black.

    Parameters
    ----------
    *images : Image
        Any.

    Raises
    ------
    UnreadableImage
        The pixels of one of 16 bits a sample cannot be decoded.
    """
    deep = [image for image in images if image.is_deep]
    if len(deep) < 2:
        return images
    bits = max(image.sample_bits for image in deep)
    if any(image.sample_bits < bits for image in deep):
        levels = [_bright_level(image) for image in deep]
        if min(levels) > 0 and max(levels) > _SAME_EXPOSURE * min(levels):
            return images
    return tuple(image.with_sample_bits(bits) for image in images)


def _bright_level(image: Image) -> float:
    """Return the level of the brighter areas of an image, as a share of 16 bits."""
    gray = image.gray()
    step = max(1, int(np.sqrt(gray.size / _LEVEL_PIXELS)))
    return float(np.percentile(gray[::step, ::step], 90)) / (1 << (16 - image.sample_bits)) / 255
