"""Pictures and what is in them, out of an archive: COCO, YOLO, or a folder for each class."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import orjson
import yaml

from ltu_compute.cancellation import checkpoint
from ltu_compute.errors import BadParameters, Problem, TooManyBytes
from ltu_compute.recognisers.onnx.manifest import PlainLoader
from ltu_compute.store.data_sets import Box, Kind

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".gif"})
TEXT_BYTES = 256 << 10  # of a text file that is read
YAML_BYTES = 64 << 10  # of all YAML files together: 1 s to read
ARCHIVE_BOXES = 100_000  # in all files of annotations together: some 30 MB
JSON_BYTES = 8 << 20  # of a JSON file that is read
JSON_TOKENS = 500_000  # commas, brackets and braces in it: some 50 MB of objects
YAML = (".yaml", ".yml")
NAME_FILES = frozenset({"classes.txt", "obj.names", "labels.txt"})
YOLO_LINE = re.compile(r"(\d{1,4})((?:\s+[-+0-9.eE]{1,24}){4})(?:\s+\S{1,24})?\s*")
SHOWN = 40  # characters of a class that an error quotes
SKIPPED = 100  # names of files that were not used, which are listed


@dataclass(frozen=True)
class Unpacked:
    """A picture of an archive.

    Attributes
    ----------
    path : str
        Where it was.
    content : bytes
        The file.
    label : str or None
        Its class: the folder that it was in.
    boxes : tuple of Box or None
        In px; None: the archive says nothing about it.
    shares : tuple of Box or None
        Boxes whose sides are shares of the picture's, as YOLO has them.
    """

    path: str
    content: bytes
    label: str | None = None
    boxes: tuple[Box, ...] | None = None
    shares: tuple[Box, ...] | None = None


@dataclass
class _Sorted:
    """The files of an archive by what they are."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def pictures_of(
    files: Iterable[tuple[str, bytes]], kind: Kind, classes: Sequence[str], name: str
) -> tuple[list[Unpacked], list[str]]:
    """Return the pictures of an archive, and the files that were not used.

    For detection, boxes are read from COCO's JSON files or from YOLO's text files. The classes of
    YOLO's numbers are listed in a ``data.yaml`` or ``classes.txt``, or are those of the data set.
    For classification, the folder that a picture is in is its class. Paths may have backslashes, as
    some programs on Windows write them. Pictures that COCO names and the archive lacks are listed
    among the files that were not used.

    Parameters
    ----------
    files : iterable of (str, bytes)
        Path and content of each.
    kind : Kind
        Of the data set.
    classes : sequence of str
        Of the data set, in their order.
    name : str
        The parameter that held the archive; errors name it.

    Raises
    ------
    BadParameters
        It has no pictures, or annotations that cannot be read.
    TooManyBytes
        A file of annotations is too large.
    """
    found = _by_use(files)
    if not found.pictures:
        raise _bad(name, "it holds no JPEG, PNG or GIF")
    if kind == Kind.CLASSIFICATION:
        skipped = [*found.skipped, *found.texts]
        labelled = [
            Unpacked(path, content, PurePosixPath(path).parent.name or None)
            for path, content in found.pictures.items()
        ]
        return labelled, skipped[:SKIPPED]
    coco = [path for path in found.texts if path.lower().endswith(".json")]
    if coco:
        tables = {path: found.texts.pop(path) for path in coco}
        boxes, missing = _coco(tables, found.pictures, name)
        pictures = [
            Unpacked(path, content, boxes=boxes.get(path))
            for path, content in found.pictures.items()
        ]
        return pictures, [*missing, *found.skipped, *found.texts][:SKIPPED]
    return _yolo(found, classes, name), found.skipped[:SKIPPED]


def _by_use(files: Iterable[tuple[str, bytes]]) -> _Sorted:
    found = _Sorted()
    for written, content in files:
        path = written.replace("\\", "/")
        parts = PurePosixPath(path)
        if "__MACOSX" in parts.parts or parts.name.startswith("."):
            continue
        suffix = parts.suffix.lower()
        if suffix in PICTURES:
            found.pictures[path] = content
        elif suffix in {".txt", ".json", ".yaml", ".yml", ".names"}:
            found.texts[path] = content
        else:
            found.skipped.append(path[:200])
    return found


# ------------------------------------------------------------------------------------- COCO


def _coco(
    tables: Mapping[str, bytes], pictures: Mapping[str, bytes], name: str
) -> tuple[dict[str, tuple[Box, ...]], list[str]]:
    """Return the boxes of pictures by their paths, and pictures that the archive lacks.

    Source: the format of data, https://cocodataset.org/#format-data.
    """
    boxes: dict[str, list[Box]] = {}
    by_name: dict[str, list[str]] = {}
    for picture in pictures:
        by_name.setdefault(PurePosixPath(picture).name, []).append(picture)
    count = 0
    missing: list[str] = []
    for path, content in tables.items():
        checkpoint()
        table = _json(path, content, name)
        try:
            names = {_whole(each["id"]): _named(each["name"]) for each in table["categories"]}
            files = {_whole(each["id"]): _named(each["file_name"]) for each in table["images"]}
            if len(files) < len(table["images"]):
                raise ValueError("two images have the same id")  # noqa: TRY301  (worded below)
            if len(names) < len(table["categories"]):
                raise ValueError("two categories have the same id")  # noqa: TRY301  (as above)
            places = {
                number: _place(file, path, pictures, by_name) for number, file in files.items()
            }
            missing += [
                f"{file[:100]} (in {path[:80]}, not in the archive)"
                for number, file in files.items()
                if places[number] is None and len(missing) < SKIPPED
            ]
            count += len(table["annotations"])
            _check_count(count, name)
            for place in places.values():
                if place is not None:
                    boxes.setdefault(place, [])
            for each in table["annotations"]:
                left, top, width, height = map(float, each["bbox"])
                place = places[_whole(each["image_id"])]
                label = names[_whole(each["category_id"])]
                if place is not None:
                    boxes[place].append(Box(label, left, top, left + width, top + height))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _bad(
                name,
                f"{path[:80]!r} is not COCO's JSON with images, annotations (bbox, image_id, "
                f"category_id) and categories: {type(error).__name__}: {str(error)[:80]}",
            ) from None
    return {path: tuple(found) for path, found in boxes.items()}, missing


def _whole(value: Any) -> int:
    """Return an id; some programs write them as texts."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"the id {value!r} is not a whole number")
    return int(value)


def _named(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"the name {value!r} is not a text")
    return value.replace("\\", "/")


def _json(path: str, content: bytes, name: str) -> Any:
    tokens = sum(content.count(sign) for sign in (b",", b"[", b"{"))
    if len(content) > JSON_BYTES or tokens > JSON_TOKENS:
        raise TooManyBytes(
            f"{name}: {path[:80]!r} has {len(content)} bytes and {tokens} commas, brackets and "
            f"braces, allowed are {JSON_BYTES} and {JSON_TOKENS}",
            parameter=name,
        )
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _bad(name, f"{path[:80]!r} is not JSON: {error}") from None


def _place(
    file: str, table: str, pictures: Mapping[str, bytes], by_name: Mapping[str, list[str]]
) -> str | None:
    """Return the path of a picture that a table names; None where the archive lacks it."""
    folder = PurePosixPath(table).parent
    for path in (file, str(folder / file), str(folder / "images" / file), f"images/{file}"):
        if path in pictures:
            return path
    alike = by_name.get(PurePosixPath(file).name, [])
    return alike[0] if len(alike) == 1 else None


# ------------------------------------------------------------------------------------- YOLO


def _yolo(found: _Sorted, classes: Sequence[str], name: str) -> list[Unpacked]:
    """Return pictures with the boxes of their text files.

    A line is the number of a class, and centre and sides as shares of the picture's. Where there
    is any such file, a picture without one shows nothing. Source: the format of darknet,
    https://github.com/AlexeyAB/darknet#how-to-train-to-detect-your-custom-objects.
    """
    names = _class_names(found.texts, name) or list(classes)
    annotated = {
        _stem(path): (path, content)
        for path, content in found.texts.items()
        if path.lower().endswith(".txt") and PurePosixPath(path).name.lower() not in NAME_FILES
    }
    pictures = []
    count = 0
    used = False
    for path in found.pictures:
        used |= _stem(path) in annotated
    for path, content in found.pictures.items():
        text = annotated.get(_stem(path))
        shares: tuple[Box, ...] | None = () if used else None
        if text is not None:
            checkpoint()
            shares = tuple(islice(_yolo_boxes(*text, names, name), ARCHIVE_BOXES - count + 1))
            count += len(shares)
            _check_count(count, name)
        pictures.append(Unpacked(path, content, shares=shares))
    return pictures


def _check_count(count: int, name: str) -> None:
    if count > ARCHIVE_BOXES:
        raise TooManyBytes(
            f"{name}: the archive has more than {ARCHIVE_BOXES} boxes, which are the most allowed",
            parameter=name,
        )


def _stem(path: str) -> str:
    """Return what a picture's path and that of its text have in common."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    for number in range(len(parts) - 2, -1, -1):
        if parts[number].lower() in {"images", "labels"}:
            del parts[number]
            break
    return "/".join(parts)


def _yolo_boxes(path: str, content: bytes, names: Sequence[str], name: str) -> Iterator[Box]:
    for number, line in enumerate(_text(path, content, name).splitlines(), 1):
        if not line.strip():
            continue
        read = YOLO_LINE.fullmatch(line.strip())
        if read is None:
            message = "it is not the number of a class and four numbers"
            raise _bad(name, f"{path[:80]!r}, line {number}: {message}")
        try:
            x, y, width, height = map(float, read[2].split())
            label = names[int(read[1])]
        except IndexError:
            listed = ", ".join(each[:SHOWN] for each in names[:20]) or "none"
            message = f"there is no class {line.split()[0]}; data.yaml or classes.txt name {listed}"
            raise _bad(name, f"{path[:80]!r}, line {number}: {message}") from None
        except ValueError as error:
            raise _bad(name, f"{path[:80]!r}, line {number}: {error}") from None
        yield Box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _class_names(texts: Mapping[str, bytes], name: str) -> list[str]:
    size = sum(len(content) for path, content in texts.items() if path.lower().endswith(YAML))
    if size > YAML_BYTES:
        raise TooManyBytes(
            f"{name}: its YAML files have {size} bytes, allowed are {YAML_BYTES}", parameter=name
        )
    for path, content in texts.items():
        file = PurePosixPath(path).name.lower()
        if file in NAME_FILES or file.endswith(".names"):
            lines = _text(path, content, name).splitlines()
            return [line.strip() for line in lines if line.strip()]
        if file.endswith(YAML):
            try:
                given = yaml.load(_text(path, content, name), PlainLoader)  # noqa: S506  (safe)
                names = given.get("names") if isinstance(given, dict) else None
                if isinstance(names, dict):
                    names = [names[key] for key in sorted(names, key=lambda key: int(str(key)))]
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise _bad(name, f"{path[:80]!r} is not YAML: {str(error)[:100]}") from None
            if isinstance(names, list):
                return [str(each) for each in names]
    return []


def _text(path: str, content: bytes, name: str) -> str:
    if len(content) > TEXT_BYTES:
        raise TooManyBytes(
            f"{name}: {path[:80]!r} has {len(content)} bytes, allowed are {TEXT_BYTES}",
            parameter=name,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad(name, f"{path[:80]!r} is not UTF-8") from None


def _bad(name: str, why: str) -> BadParameters:
    return BadParameters(Problem(name, f"{name}: the archive cannot be used: {why}"))
