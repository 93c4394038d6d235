"""Reading zip archives, bounded by what they become."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ltu_compute.errors import BadParameters, Problem, TooManyBytes

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # of the first entry, or of the end of an empty one
END = b"PK\x05\x06"  # of the record at the end
END_RECORD = struct.Struct("<4s4H2LH")
LOCATOR, LOCATOR_BYTES = b"PK\x06\x07", 20  # of ZIP64's record at the end, right before it
LONGEST_COMMENT = 1 << 16  # bytes behind the record
DIRECTORY_BYTES = 512  # of an entry in the directory, at the most, on average
BLOCK = 1 << 20  # bytes that are unpacked at a time
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits on what an archive unpacks to.

    Attributes
    ----------
    entries : int
        Files and folders in it.
    bytes : int
        Of all files together, unpacked.
    file_bytes : int
        Of one file, unpacked.
    """

    entries: int
    bytes: int
    file_bytes: int


def is_archive(content: bytes) -> bool:
    """Return whether a file begins as a zip archive does."""
    return content.startswith(SIGNATURES)


def files(content: bytes, limits: ArchiveLimits, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file in an archive, in the archive's order.

    Nothing is written anywhere, and archives in it are files like others. Bytes are counted while
    they are unpacked: the sizes that the archive declares are not trusted.

    Parameters
    ----------
    content : bytes
        The archive.
    limits : ArchiveLimits
        Limits on what it unpacks to.
    name : str
        The parameter that held it; errors name it.

    Raises
    ------
    BadParameters
        It is no zip archive, damaged, encrypted, or packed by another method than deflate.
    TooManyBytes
        It has more entries, or becomes more bytes, than it may.
    """
    _check_directory(content, limits, name)
    left = limits.bytes
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > limits.entries:
                raise _too_many_entries(len(entries), limits, name)
            for entry in entries:
                if entry.is_dir():
                    continue
                if entry.flag_bits & 1 or entry.compress_type not in METHODS:
                    raise _bad(name, f"{entry.filename[:80]!r} is encrypted or not deflated")
                unpacked = _unpacked(archive, entry, min(left, limits.file_bytes), limits, name)
                left -= len(unpacked)
                yield entry.filename, unpacked
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _bad(name, f"it is damaged: {error}") from None


def _unpacked(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    most: int,
    limits: ArchiveLimits,
    name: str,
) -> bytes:
    pieces: list[bytes] = []
    size = 0
    with archive.open(entry) as file:
        while piece := file.read(BLOCK):
            size += len(piece)
            if size > most:
                raise TooManyBytes(
                    f"{name}: {entry.filename[:80]!r} unpacks to more than a file may have "
                    f"({limits.file_bytes} bytes), or all files together ({limits.bytes})",
                    parameter=name,
                )
            pieces.append(piece)
    return b"".join(pieces)


def _check_directory(content: bytes, limits: ArchiveLimits, name: str) -> None:
    """Refuse a directory that would become too many objects, before it is read."""
    start = content.rfind(END, max(0, len(content) - END_RECORD.size - LONGEST_COMMENT))
    if start < 0 or start + END_RECORD.size > len(content):
        raise _bad(name, "it has no end")
    if content.startswith(LOCATOR, max(0, start - LOCATOR_BYTES)):  # counts would be elsewhere
        raise _bad(name, "it is a ZIP64 archive, which is for more than 4 GB")
    record = END_RECORD.unpack_from(content, start)
    entries, size = record[4], record[5]
    if entries > limits.entries:
        raise _too_many_entries(entries, limits, name)
    if size > DIRECTORY_BYTES * limits.entries:
        raise TooManyBytes(
            f"{name}: the archive's directory has {size} bytes, allowed are "
            f"{DIRECTORY_BYTES * limits.entries}",
            parameter=name,
        )


def _too_many_entries(entries: int, limits: ArchiveLimits, name: str) -> TooManyBytes:
    return TooManyBytes(
        f"{name}: the archive has {entries} entries, allowed are {limits.entries}", parameter=name
    )


def _bad(name: str, why: str) -> BadParameters:
    return BadParameters(Problem(name, f"{name}: not a zip archive that can be read: {why}"))
