"""Draws pictures and writes them as files of every kind that the service reads.

Drawn pictures are BGR or grey uint8 arrays, files are bytes; all are the same on every run.
"""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ltu_compute.image

Pixels = NDArray[np.uint8]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


PALETTE: Pixels = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [0, 0, 0]], np.uint8)
INDICES: Pixels = np.array([[0, 1], [2, 3]], np.uint8)
"""A picture of four colours, and their BGR, for GIF."""


def opened(content: bytes, name: str = "image") -> ltu_compute.image.Image:
    """Open a file under the service's own limit of pixels."""
    return ltu_compute.image.Image.from_bytes(content, max_pixels=50_000_000, name=name)


def scene(width: int = 40, height: int = 30) -> Pixels:
    """Draw a colourful picture that no turning or mirroring maps onto itself, as BGR."""
    x = np.linspace(0, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None]
    channels = (40 + 180 * x + 0 * y, 30 + 190 * y + 0 * x, 220 - 90 * x - 90 * y)
    picture: Pixels = np.stack(channels, axis=2).round().astype(np.uint8)
    radius = max(1, min(width, height) // 6)
    cv2.circle(picture, (width // 3, height // 3), radius, (30, 220, 240), cv2.FILLED)
    cv2.rectangle(picture, (0, 0), (width // 8, height // 5), (0, 0, 0), cv2.FILLED)
    return picture


def gray_scene(width: int = 40, height: int = 30) -> Pixels:
    """Draw the scene in grey."""
    return np.asarray(cv2.cvtColor(scene(width, height), cv2.COLOR_BGR2GRAY), np.uint8)


def rgb(picture: Pixels) -> Pixels:
    """Turn BGR into RGB and back."""
    return np.ascontiguousarray(picture[..., ::-1])


def pillow_file(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Write a Pillow image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# ------------------------------------------------------------------------------------- JPEG


def jpeg(picture: Pixels, *, progressive: bool = False, **options: Any) -> bytes:
    """Write BGR or grey as JPEG at quality 95, without subsampling unless asked for."""
    image = Image.fromarray(picture if picture.ndim == 2 else rgb(picture))
    options = {"quality": 95, "subsampling": 0} | options
    return pillow_file(image, "JPEG", progressive=progressive, **options)


def cmyk_jpeg(picture: Pixels, *, ycck: bool = False) -> bytes:
    """Write BGR as a JPEG of four components, inverted as Adobe's programs do, without black."""
    if not ycck:
        inks = np.dstack([255 - rgb(picture), np.zeros(picture.shape[:2], np.uint8)])
        return pillow_file(Image.fromarray(inks, "CMYK"), "JPEG", quality=95, subsampling=0)
    # YCCK holds the luma and chroma of the inks. Pillow writes what it is given, inverted; then
    # the transform byte of the Adobe segment is set from 0 to 2.
    ycrcb = cv2.cvtColor(255 - picture, cv2.COLOR_BGR2YCrCb)
    luma_chroma = np.dstack([ycrcb[..., [0, 2, 1]], np.full(picture.shape[:2], 255, np.uint8)])
    inverted = Image.fromarray(255 - luma_chroma, "CMYK")
    content = bytearray(pillow_file(inverted, "JPEG", quality=95, subsampling=0))
    content[content.index(b"Adobe") + 11] = 2
    return bytes(content)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """Build one JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segment(content: bytes, segment: bytes) -> bytes:
    """Put a segment right behind the start of a JPEG."""
    return content[:2] + segment + content[2:]


# -------------------------------------------------------------------------------------- PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    """Build one PNG chunk."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def ihdr(width: int, height: int, depth: int, colour_type: int) -> bytes:
    """Build the header chunk of a PNG that is not interlaced."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))


def png_of_samples(
    samples: NDArray[Any], depth: int, colour_type: int, *, before: bytes = b"", after: bytes = b""
) -> bytes:
    """Write samples, (H, W) or (H, W, channels), as PNG of any depth and colour type.

    `before` and `after` are chunks put in front of and behind the pixels.
    """
    height, width = samples.shape[:2]
    values = samples.reshape(height, -1)
    if depth == 16:
        packed = np.ascontiguousarray(values.astype(">u2")).view(np.uint8)
    elif depth == 8:
        packed = values.astype(np.uint8)
    else:
        bits = (values[..., None].astype(np.uint8) >> np.arange(depth)[::-1]) & 1
        packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    rows = np.pad(packed, ((0, 0), (1, 0)))
    return b"".join(
        (
            PNG_SIGNATURE,
            ihdr(width, height, depth, colour_type),
            before,
            chunk(b"IDAT", zlib.compress(rows.tobytes())),
            after,
            chunk(b"IEND", b""),
        )
    )


def png(picture: Pixels) -> bytes:
    """Write grey, BGR or BGRA as an 8-bit PNG."""
    if picture.ndim == 2:
        return png_of_samples(picture, 8, 0)
    if picture.shape[2] == 3:
        return png_of_samples(rgb(picture), 8, 2)
    return png_of_samples(picture[..., [2, 1, 0, 3]], 8, 6)


def apng(*frames: Pixels) -> bytes:
    """Write BGR pictures as an animated PNG."""
    first, *others = [Image.fromarray(rgb(frame)) for frame in frames]
    return pillow_file(first, "PNG", save_all=True, append_images=others, duration=100)


def with_right_checksums(content: bytes) -> bytes:
    """Put the checksums of a PNG right, so that what was changed reaches the decoder."""
    repaired, position = bytearray(content), 8
    while position + 12 <= len(repaired):
        length = int.from_bytes(repaired[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(repaired):
            break
        repaired[end : end + 4] = struct.pack(">I", zlib.crc32(repaired[position + 4 : end]))
        position = end + 4
    return bytes(repaired)


# -------------------------------------------------------------------------------------- GIF


def gif(
    indices: Pixels,
    palette: Pixels | None,
    *,
    transparent: int | None = None,
    screen: tuple[int, int] | None = None,
    offset: tuple[int, int] = (0, 0),
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Write indices (H, W) of 0 to 127 with a BGR palette (N, 3) as GIF.

    The codes are not compressed: 7-bit values in 8-bit codes, with a clear code before the code
    size would grow. `before` and `after` are blocks around the picture.
    """
    height, width = indices.shape
    screen_width, screen_height = screen or (width, height)
    flags, table = 0, b""
    if palette is not None:
        bits = max(1, int(np.ceil(np.log2(len(palette)))))
        flags = 0x80 | (bits - 1)
        table = rgb(palette).tobytes().ljust(3 << bits, b"\0")
    codes = bytearray()
    for start in range(0, indices.size, 120):
        codes += b"\x80" + indices.ravel()[start : start + 120].tobytes()
    codes += b"\x81"
    control = b""
    if transparent is not None:
        control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 1, 0, transparent, 0)
    return b"".join(
        (
            b"GIF89a",
            struct.pack("<HHBBB", screen_width, screen_height, flags, 0, 0),
            table,
            before,
            control,
            struct.pack("<BHHHHB", 0x2C, *offset, width, height, 0),
            b"\x07",
            sub_blocks(bytes(codes)),
            after,
            b";",
        )
    )


def sub_blocks(content: bytes, length: int = 255) -> bytes:
    """Cut bytes into GIF sub-blocks, with the block that ends them."""
    pieces = [content[start : start + length] for start in range(0, len(content), length)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def animated_gif(*frames: Pixels) -> bytes:
    """Write BGR pictures as an animated GIF."""
    first, *others = [Image.fromarray(rgb(frame)) for frame in frames]
    return pillow_file(first, "GIF", save_all=True, append_images=others, duration=100, loop=0)


# ------------------------------------------------------------------------------- orientation


def exif(orientation: int, *, order: str = "<", kind: int = 3) -> bytes:
    """Build an EXIF block (TIFF) that holds a maker and an orientation, SHORT (3) or LONG (4)."""
    signature = {"<": b"II*\0", ">": b"MM\0*"}[order]
    value = struct.pack(order + {3: "HH", 4: "I"}[kind], *([orientation, 0][: 5 - kind]))
    return b"".join(
        (
            signature,
            struct.pack(order + "IH", 8, 2),
            struct.pack(order + "HHI", 0x010F, 2, 2) + b"A\0\0\0",
            struct.pack(order + "HHI", 0x0112, kind, 1) + value,
            struct.pack(order + "I", 0),
        )
    )


def oriented_jpeg(picture: Pixels, orientation: int, **options: Any) -> bytes:
    """Write BGR as it is, with an EXIF orientation that tells readers how to turn it."""
    segment = jpeg_segment(0xE1, b"Exif\0\0" + exif(orientation))
    return with_segment(jpeg(picture, **options), segment)


def oriented_png(picture: Pixels, orientation: int, *, behind: bool = False) -> bytes:
    """Write BGR as PNG with an EXIF orientation in front of or behind the pixels."""
    block = chunk(b"eXIf", exif(orientation))
    around = {"after": block} if behind else {"before": block}
    return png_of_samples(rgb(picture), 8, 2, **around)


# --------------------------------------------------------------------------------- every kind


def every_kind() -> dict[str, bytes]:
    """Return one small file of every kind, by a name that says which."""
    colour, gray = scene(), gray_scene()
    height, width = gray.shape
    alpha = np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))
    deep = gray.astype(np.uint16) * 257
    levels = np.indices((height, width)).sum(axis=0)
    palette = np.arange(48, dtype=np.uint8).reshape(16, 3) * 5
    plte = chunk(b"PLTE", rgb(palette).tobytes())
    image = Image.fromarray(rgb(colour))
    return {
        "jpeg": jpeg(colour),
        "jpeg 4:2:0 odd size": jpeg(scene(41, 31), subsampling=2),
        "jpeg grey": jpeg(gray),
        "jpeg progressive": jpeg(colour, progressive=True),
        "jpeg rgb": jpeg(colour, keep_rgb=True),
        "jpeg restart intervals": jpeg(colour, restart_marker_blocks=2),
        "jpeg cmyk": cmyk_jpeg(colour),
        "jpeg ycck": cmyk_jpeg(colour, ycck=True),
        "jpeg oriented": oriented_jpeg(colour, 6),
        "png": png(colour),
        "png grey": png(gray),
        "png alpha": png(np.dstack([colour, alpha])),
        "png grey alpha": png_of_samples(np.dstack([gray, alpha]), 8, 4),
        "png interlaced": interlaced_png(colour),
        "png 16-bit grey": png_of_samples(deep, 16, 0),
        "png 16-bit grey alpha": png_of_samples(
            np.dstack([deep, alpha.astype(np.uint16) * 257]), 16, 4
        ),
        "png 16-bit": png_of_samples(rgb(colour).astype(np.uint16) * 257, 16, 2),
        "png 16-bit alpha": png_of_samples(
            np.dstack([rgb(colour), alpha]).astype(np.uint16) * 257, 16, 6
        ),
        "png 1-bit": png_of_samples(levels % 2, 1, 0),
        "png 2-bit": png_of_samples(levels % 4, 2, 0),
        "png 4-bit": png_of_samples(levels % 16, 4, 0),
        "png palette": png_of_samples(levels % 16, 4, 3, before=plte),
        "png palette alpha": png_of_samples(
            levels % 16, 8, 3, before=plte + chunk(b"tRNS", bytes(range(0, 160, 10)))
        ),
        "png grey key": png_of_samples(gray, 8, 0, before=chunk(b"tRNS", b"\0\0")),
        "png key": png_of_samples(rgb(colour), 8, 2, before=chunk(b"tRNS", bytes(6))),
        "png animated": apng(colour, rgb(colour)),
        "png oriented": oriented_png(colour, 8),
        "gif": pillow_file(image, "GIF"),
        "gif grey": pillow_file(Image.fromarray(gray), "GIF"),
        "gif transparent": gif((levels % 16).astype(np.uint8), palette, transparent=3),
        "gif animated": animated_gif(colour, rgb(colour)),
    }


def interlaced_png(picture: Pixels) -> bytes:
    """Write BGR as a PNG in the seven passes of Adam7."""
    height, width = picture.shape[:2]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = bytearray()
    for x, y, x_step, y_step in passes:
        for row in rgb(picture)[y::y_step, x::x_step]:
            rows += b"\0" + row.tobytes() if row.size else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"".join(
        (
            PNG_SIGNATURE,
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(bytes(rows))),
            chunk(b"IEND", b""),
        )
    )
