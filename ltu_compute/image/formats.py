"""File formats by their first bytes: those that are read, and those that are refused by name."""

from collections.abc import Collection
from typing import Literal, get_args

Format = Literal["JPEG", "PNG", "GIF", "TIFF", "WebP"]
"""A format that can be read."""

COMMON: frozenset[Format] = frozenset(("JPEG", "PNG", "GIF"))
"""Formats that are accepted unless an interface says otherwise."""

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)

# Other formats that cameras, phones and programs write.
_OTHERS = (
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF-", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\1\0", "icon"),
    (b"IIRO", "Olympus raw"),
    (b"IIU\0", "Panasonic raw"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw"),
    (b"SIMPLE  =", "FITS"),
    (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
)
_BRANDS = {  # of ISO 14496-12's boxes, at byte 8
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "Canon raw",
}
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # lengths, in bytes


def format_of(content: bytes) -> Format | None:
    """Return the format that a file begins like, None if it is not one that can be read."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    return next((kind for signature, kind in _SIGNATURES if content.startswith(signature)), None)


def described(content: bytes) -> str:
    """Return what a file is, as far as its first bytes say; empty if they say nothing."""
    kind = format_of(content)
    if kind == "TIFF" and content[8:10] == b"CR":
        return "Canon raw"
    if kind is not None:
        return kind
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], "")
    if content[:2] == b"BM" and int.from_bytes(content[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return next((name for signature, name in _OTHERS if content.startswith(signature)), "")


def listed(formats: Collection[str]) -> str:
    """Return formats as words: ``JPEG, PNG or GIF``."""
    *others, last = (kind for kind in get_args(Format) if kind in formats)
    return f"{', '.join(others)} or {last}" if others else last
