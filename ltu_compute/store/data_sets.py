"""Data sets: pictures with labels or boxes, from which an account trains models of its own.

The pictures are rows of the database, so that every replica and every worker sees them. They
belong to an account, count against its quota, and are deleted with their data set or account.

The module is long because the checks of names, labels and boxes are beside the rows that need them.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa

from ltu_compute.errors import BadParameters, NotFound, Problem, StorageFull
from ltu_compute.settings import PREFIX
from ltu_compute.store.database import Database
from ltu_compute.store.large_rows import delete_in_steps, is_one_step
from ltu_compute.store.names import check_text, name_key
from ltu_compute.store.tables import data_set_annotations, data_set_images, data_sets

MOST_CLASSES = 100  # of a data set
CLASS_LENGTH = 100  # characters of a class name
MOST_BOXES = 1000  # in one picture
BOXES_BYTES = 16 << 20  # of all boxes of a data set as text: up to 800,000, 250 MB as objects
MOST_DATA_SETS = 200  # of an account


class Kind(StrEnum):
    """Purpose of a data set."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"


@dataclass(frozen=True)
class Box:
    """An object in a picture: its class, and its sides in px of the picture."""

    class_name: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class DataSet:
    """A data set. Times are in seconds since 1970 (UTC).

    Attributes
    ----------
    classes : tuple of str
        Names, in the order in which they were added.
    is_open : bool
        Whether pictures may bring further classes: none were named when it was made.
    images : int
        Pictures in it.
    bytes : int
        Of the pictures' files together.
    updated_at : float
        When it was made or changed, or a picture was last added or deleted.
    """

    id: str
    account_id: str
    name: str
    kind: Kind
    classes: tuple[str, ...]
    is_open: bool
    images: int
    bytes: int
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class NewImage:
    """A picture that is to be added; see `DataSetImage`.

    Attributes
    ----------
    clears : bool
        Whether a picture that is there already loses its label and boxes where none are given.
    """

    name: str
    sha256: str
    width: int
    height: int
    content: bytes
    label: str | None = None
    boxes: tuple[Box, ...] | None = None
    clears: bool = False

    @property
    def says_nothing(self) -> bool:
        """Whether it changes no label and no boxes."""
        return self.label is None and self.boxes is None and not self.clears


@dataclass(frozen=True)
class ClassCount:
    """Counts of a class in a data set: pictures that have it, and boxes."""

    images: int
    boxes: int


@dataclass(frozen=True)
class DataSetImage:
    """A picture of a data set, without its content.

    Attributes
    ----------
    name : str
        Name of the file, as it was sent.
    sha256 : str
        Of the file, hexadecimal.
    width, height : int
        In px.
    bytes : int
        Size of the file.
    label : str or None
        Its class, in a data set for classification; None: not labelled.
    boxes : tuple of Box or None
        What it shows, in a data set for detection. None: nobody has looked; empty: nothing of
        the classes is in it.
    """

    id: str
    data_set_id: str
    name: str
    sha256: str
    width: int
    height: int
    bytes: int
    label: str | None
    boxes: tuple[Box, ...] | None
    created_at: float


@dataclass(frozen=True)
class DataSetLimits:
    """Limits on all data sets of one account together.

    Attributes
    ----------
    images : int
        Pictures.
    bytes : int
        Of their files.
    """

    images: int = 10_000
    bytes: int = 2 << 30


class DataSets:
    """The data sets of all accounts.

    Parameters
    ----------
    database : Database
        Where they are kept.
    limits : DataSetLimits
        Of each account.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        limits: DataSetLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self.limits = limits or DataSetLimits()
        self._clock = clock

    def add(self, account_id: str, name: str, kind: Kind, classes: Sequence[str] = ()) -> DataSet:
        """Make an empty data set.

        Raises
        ------
        BadParameters
            The name or a class name is empty, too long, not printable or given twice.
        StorageFull
            The account has as many data sets as it may have.
        """
        check_name("name", name)
        check_classes(classes)
        now = self._clock()
        is_open = not classes
        made = DataSet(
            _new_id("ds"), account_id, name, kind, tuple(classes), is_open, 0, 0, now, now
        )
        with self._database.transaction(writes=True) as connection:
            self._lock_account(connection, account_id)
            count = connection.execute(
                sa.select(sa.func.count()).where(data_sets.c.account_id == account_id)
            ).scalar_one()
            if count >= MOST_DATA_SETS:
                raise StorageFull(
                    f"the account has {count} data sets; {MOST_DATA_SETS} are allowed"
                )
            connection.execute(
                sa.insert(data_sets).values(
                    id=made.id,
                    account_id=account_id,
                    name=name,
                    kind=kind.value,
                    classes=orjson.dumps(made.classes).decode(),
                    is_open=is_open,
                    images=0,
                    bytes=0,
                    created_at=now,
                    updated_at=now,
                )
            )
        return made

    def get(self, account_id: str, data_set_id: str) -> DataSet:
        """Return a data set of an account.

        Raises
        ------
        NotFound
            The account has none of that id.
        """
        with self._database.transaction() as connection:
            return self._one(connection, account_id, data_set_id)

    def whole(self, account_id: str, data_set_id: str) -> tuple[DataSet, list[DataSetImage]]:
        """Return a data set and all its pictures, as they were at one moment.

        Raises
        ------
        NotFound
            The account has none of that id.
        """
        with self._database.transaction() as connection:
            self._lock_account(connection, account_id)
            found = self._one(connection, account_id, data_set_id)
            rows = connection.execute(_in_order(data_set_id)).all()
        return found, [_image(row) for row in rows]

    def counted(self, account_id: str, data_set_id: str) -> tuple[DataSet, dict[str, ClassCount]]:
        """Return a data set and what it holds of each class, as they were at one moment.

        Raises
        ------
        NotFound
            The account has none of that id.
        """
        pictures: Counter[str] = Counter()
        boxes: Counter[str] = Counter()
        query = _ANNOTATED.where(data_set_images.c.data_set_id == data_set_id)
        with self._database.transaction() as connection:
            self._lock_account(connection, account_id)
            found = self._one(connection, account_id, data_set_id)
            for row in connection.execute(query):  # one by one: all boxes take 300 MB as objects
                if row.label is not None:
                    pictures[row.label] += 1
                names = Counter(name for name, *_ in orjson.loads(row.boxes or "[]"))
                pictures.update(names.keys())
                boxes.update(names)
        return found, {name: ClassCount(pictures[name], boxes[name]) for name in found.classes}

    def change(
        self,
        account_id: str,
        data_set_id: str,
        *,
        name: str = "",
        renamed: Mapping[str, str] | None = None,
        merge: bool = False,
    ) -> DataSet:
        """Give a data set another name, and its classes.

        Labels and boxes follow their class. Models that were trained on it keep the names that
        they were trained with.

        Parameters
        ----------
        account_id, data_set_id : str
            Whose, and which.
        name : str
            Its new name; "": as it is.
        renamed : mapping of str to str, optional
            New names by those that classes have now. They take effect at once, so that two
            classes can exchange their names.
        merge : bool
            Whether classes that get the same name become one.

        Raises
        ------
        NotFound
            The account has none of that id.
        BadParameters
            A name is none that may be given, is that of no class, or is that of two.
        StorageFull
            The boxes would take more than they may.
        """
        if name:
            check_name("name", name)
        with self._database.transaction(writes=True) as connection:
            self._lock_account(connection, account_id)
            before = self._one(connection, account_id, data_set_id)
            names = _renaming(before.classes, renamed or {}, merge=merge)
            classes = list(dict.fromkeys(names.values()))
            names = {old: new for old, new in names.items() if old != new}
            if names:
                self._rename(connection, data_set_id, names)
            changed = {
                "name": name or before.name,
                "classes": orjson.dumps(classes).decode(),
                "updated_at": self._clock(),
            }
            connection.execute(
                sa.update(data_sets).where(data_sets.c.id == data_set_id).values(**changed)
            )
            return self._one(connection, account_id, data_set_id)

    def _rename(
        self, connection: sa.Connection, data_set_id: str, names: Mapping[str, str]
    ) -> None:
        """Give the labels and boxes of a data set the new names of their classes."""
        mine = data_set_images.c.data_set_id == data_set_id
        named = sa.or_(_LABEL.in_(list(names)), _BOXES != "")
        changed, size = [], 0
        for row in connection.execute(_ANNOTATED.where(mine, named)).all():
            text = row.boxes
            if text is not None:
                boxes = [(names.get(old, old), *sides) for old, *sides in orjson.loads(text)]
                text = orjson.dumps(boxes).decode()
                size += len(text)
            label = names.get(row.label, row.label)
            if (label, text) != (row.label, row.boxes):
                changed.append({"image_id": row.id, "label": label, "boxes": text})
        _check_boxes_size(size)
        if changed:
            self._forget_renamed(connection, [row["image_id"] for row in changed])
            connection.execute(sa.insert(data_set_annotations), changed)

    def _forget_renamed(self, connection: sa.Connection, images: Sequence[str]) -> None:
        """Delete what pictures have had since a class was renamed: they have it otherwise now."""
        connection.execute(
            sa.delete(data_set_annotations).where(
                data_set_annotations.c.image_id == sa.bindparam("image")
            ),
            [{"image": image} for image in images],
        )

    def page(
        self, account_id: str, *, offset: int = 0, limit: int = 50
    ) -> tuple[int, list[DataSet]]:
        """Return how many data sets an account has, and a page of them, the newest first."""
        mine = data_sets.c.account_id == account_id
        page = _DATA_SET.where(mine).order_by(data_sets.c.created_at.desc(), data_sets.c.id)
        with self._database.transaction() as connection:
            total = connection.execute(
                sa.select(sa.func.count()).select_from(data_sets).where(mine)
            ).scalar_one()
            rows = connection.execute(page.offset(offset).limit(limit)).all()
        return total, [_data_set(row) for row in rows]

    def delete(self, account_id: str, data_set_id: str) -> None:
        """Delete a data set with its pictures: a large one step by step, with fewer pictures each.

        Raises
        ------
        NotFound
            The account has none of that id.
        """
        own = (data_sets.c.id == data_set_id, data_sets.c.account_id == account_id)
        with self._locked(account_id, writes=True) as connection:
            found = self._one(connection, account_id, data_set_id)
            if is_one_step(found.bytes):
                connection.execute(sa.delete(data_sets).where(*own))
                return

        def count(connection: sa.Connection, images: int, size: int) -> None:
            left = {
                "images": data_sets.c.images - images,
                "bytes": data_sets.c.bytes - size,
                "updated_at": self._clock(),
            }
            connection.execute(sa.update(data_sets).where(*own).values(left))

        delete_in_steps(
            partial(self._locked, account_id),
            data_set_images,
            data_set_images.c.bytes,
            data_set_images.c.data_set_id == data_set_id,
            deleted=count,
        )
        with self._locked(account_id, writes=True) as connection:
            connection.execute(sa.delete(data_sets).where(*own))

    def add_images(
        self, account_id: str, data_set_id: str, images: Sequence[NewImage]
    ) -> list[DataSetImage]:
        """Add pictures, all or none.

        A picture whose bytes the data set has already is not stored again: it gets the new name,
        and the new label or boxes where they are given or cleared. To an open data set, classes
        are added that labels or boxes bring; in another case of letters they are the class that
        there is.

        Raises
        ------
        NotFound
            The account has no such data set.
        StorageFull
            The account would have more pictures, or bytes, than it may have.
        BadParameters
            There would be too many classes, or the data set is not open and lacks one.
        """
        with self._database.transaction(writes=True) as connection:
            self._lock_account(connection, account_id)
            data_set = self._one(connection, account_id, data_set_id)
            classes, images = _with_classes(data_set, images)
            known = self._known(connection, data_set_id, [image.sha256 for image in images])
            now = self._clock()
            added: dict[str, DataSetImage] = {}
            new: dict[str, NewImage] = {}
            for number, image in enumerate(images):
                before = known.get(image.sha256)
                image_id = _new_id("img") if before is None else before.id
                if before is None:
                    new[image_id] = image
                # A microsecond apart, which keeps them in order.
                one = _added(image, image_id, data_set_id, now + 1e-6 * number)
                if before is not None:
                    one = replace(one, created_at=before.created_at)
                    if image.says_nothing:
                        one = replace(one, label=before.label, boxes=before.boxes)
                added[image_id] = known[image.sha256] = one
            self._check_room(connection, account_id, list(new.values()))
            self._check_boxes(connection, data_set_id, list(added.values()))
            if again := [image_id for image_id in added if image_id not in new]:
                self._forget_renamed(connection, again)
            for image_id, one in added.items():
                values = _values(one)
                if image_id in new:
                    connection.execute(
                        sa.insert(data_set_images).values(**values, content=new[image_id].content)
                    )
                else:
                    connection.execute(
                        sa.update(data_set_images)
                        .where(data_set_images.c.id == image_id)
                        .values(**values)
                    )
            connection.execute(
                sa.update(data_sets)
                .where(data_sets.c.id == data_set_id)
                .values(
                    classes=orjson.dumps(classes).decode(),
                    images=data_sets.c.images + len(new),
                    bytes=data_sets.c.bytes + sum(len(image.content) for image in new.values()),
                    updated_at=now,
                )
            )
        return list(added.values())

    def images(
        self, data_set_id: str, *, offset: int = 0, limit: int | None = None
    ) -> list[DataSetImage]:
        """Return pictures of a data set without their content, in the order they were added."""
        query = _in_order(data_set_id).offset(offset)
        with self._database.transaction() as connection:
            rows = connection.execute(query if limit is None else query.limit(limit)).all()
        return [_image(row) for row in rows]

    def content(self, image_id: str) -> bytes:
        """Return the file of a picture.

        Raises
        ------
        NotFound
            There is none (any more).
        """
        query = sa.select(data_set_images.c.content).where(data_set_images.c.id == image_id)
        with self._database.transaction() as connection:
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        if found is None:
            raise NotFound(f"image {image_id[:40]!r} does not exist")
        return bytes(found)

    def image(self, account_id: str, data_set_id: str, image_id: str) -> DataSetImage:
        """Return a picture of an account's data set, without its content.

        Raises
        ------
        NotFound
            The account has no such data set, or the data set no such picture.
        """
        with self._database.transaction() as connection:
            self._one(connection, account_id, data_set_id)
            row = connection.execute(_IMAGE.where(*_is_image(data_set_id, image_id))).first()
        if row is None:
            raise NotFound(f"the data set has no image {image_id[:40]!r}")
        return _image(row)

    def delete_image(self, account_id: str, data_set_id: str, image_id: str) -> None:
        """Delete a picture.

        Raises
        ------
        NotFound
            The account has no such data set, or the data set no such picture.
        """
        with self._database.transaction(writes=True) as connection:
            self._lock_account(connection, account_id)
            self._one(connection, account_id, data_set_id)
            size = connection.execute(
                sa.delete(data_set_images)
                .where(*_is_image(data_set_id, image_id))
                .returning(data_set_images.c.bytes)
            ).scalar_one_or_none()
            if size is None:
                raise NotFound(f"the data set has no image {image_id[:40]!r}")
            connection.execute(
                sa.update(data_sets)
                .where(data_sets.c.id == data_set_id)
                .values(
                    images=data_sets.c.images - 1,
                    bytes=data_sets.c.bytes - size,
                    updated_at=self._clock(),
                )
            )

    # ---------------------------------------------------------------- below the surface

    @contextmanager
    def _locked(self, account_id: str, *, writes: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction in which nobody else changes the account's data sets."""
        with self._database.transaction(writes=writes) as connection:
            self._lock_account(connection, account_id)
            yield connection

    def _one(self, connection: sa.Connection, account_id: str, data_set_id: str) -> DataSet:
        row = connection.execute(
            _DATA_SET.where(data_sets.c.id == data_set_id, data_sets.c.account_id == account_id)
        ).first()
        if row is None:
            raise _unknown(data_set_id)
        return _data_set(row)

    def _known(
        self, connection: sa.Connection, data_set_id: str, digests: Iterable[str]
    ) -> dict[str, DataSetImage]:
        """Return the pictures that the data set has already, by their digests."""
        query = _IMAGE.where(
            data_set_images.c.data_set_id == data_set_id,
            data_set_images.c.sha256.in_(list(digests)),
        )
        return {row.sha256: _image(row) for row in connection.execute(query)}

    def _lock_account(self, connection: sa.Connection, account_id: str) -> None:
        """Let nobody else change the account's data sets until the transaction ends."""
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            key = sa.func.hashtextextended(account_id, 1)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    def _check_boxes(
        self, connection: sa.Connection, data_set_id: str, added: Sequence[DataSetImage]
    ) -> None:
        """Refuse more boxes than can be read at once: `GET` of a data set counts them all."""
        total = sa.func.coalesce(sa.func.sum(sa.func.length(_BOXES)), 0)
        kept = (
            sa.select(sa.cast(total, sa.BigInteger))
            .select_from(_WITH_RENAMED)
            .where(
                data_set_images.c.data_set_id == data_set_id,
                data_set_images.c.id.not_in([image.id for image in added]),
            )
        )
        size = connection.execute(kept).scalar_one()
        size += sum(len(_values(image)["boxes"] or "") for image in added)
        _check_boxes_size(size)

    def _check_room(
        self, connection: sa.Connection, account_id: str, new: Sequence[NewImage]
    ) -> None:
        images, size = connection.execute(
            sa.select(
                sa.cast(sa.func.coalesce(sa.func.sum(data_sets.c.images), 0), sa.BigInteger),
                sa.cast(sa.func.coalesce(sa.func.sum(data_sets.c.bytes), 0), sa.BigInteger),
            ).where(data_sets.c.account_id == account_id)
        ).one()
        more = sum(len(image.content) for image in new)
        if images + len(new) > self.limits.images:
            raise StorageFull(
                f"the account's data sets have {images} images and would have "
                f"{images + len(new)}; {self.limits.images} are allowed "
                f"({PREFIX}DATA_SET_IMAGES_PER_ACCOUNT)"
            )
        if size + more > self.limits.bytes:
            raise StorageFull(
                f"the account's data sets have {size} bytes and would have {size + more}; "
                f"{self.limits.bytes} are allowed ({PREFIX}DATA_SET_BYTES_PER_ACCOUNT)"
            )


def check_name(parameter: str, name: str) -> None:
    """Return when a data set or a model may have this name.

    Raises
    ------
    BadParameters
        It is empty, over 255 characters, or holds control characters or blanks around it.
    """
    if not name.strip():
        raise BadParameters(Problem(parameter, f"{parameter}: must not be empty"))
    if name != name.strip():
        message = f"{parameter}: {name[:80]!r} begins or ends with a blank"
        raise BadParameters(Problem(parameter, message))
    check_text(parameter, name)


def check_classes(classes: Sequence[str]) -> None:
    """Return when these are names of classes.

    Raises
    ------
    BadParameters
        There are too many, or one is empty, too long, not printable, or given twice.
    """
    if len(classes) > MOST_CLASSES:
        message = f"classes: received {len(classes)}, allowed are {MOST_CLASSES}"
        raise BadParameters(Problem("classes", message))
    seen: dict[str, str] = {}
    for name in classes:
        _check_class("classes", name)
        if (key := name_key(name)) in seen:
            message = f"classes: {name!r} and {seen[key]!r} are the same name"
            raise BadParameters(Problem("classes", message))
        seen[key] = name


def _check_class(parameter: str, name: str) -> None:
    if not name.strip() or len(name) > CLASS_LENGTH or not name.isprintable():
        message = f"{name[:40]!r} is not 1 to {CLASS_LENGTH} printable characters"
        raise BadParameters(Problem(parameter, f"{parameter}: {message}"))


def _check_boxes_size(size: int) -> None:
    if size > BOXES_BYTES:
        raise StorageFull(
            f"the boxes of the data set would have {size} bytes, allowed are {BOXES_BYTES}"
        )


def _renaming(classes: Sequence[str], renamed: Mapping[str, str], *, merge: bool) -> dict[str, str]:
    """Return the name that each class is to have, in their order.

    Raises
    ------
    BadParameters
        A name is that of no class, cannot be one, or would be that of two.
    """
    names = {name_key(name): name for name in classes}
    known = {name: name for name in classes}
    asked: dict[str, str] = {}
    for old, new in renamed.items():
        if (key := name_key(old)) not in names:
            listed = ", ".join(map(repr, classes)) or "none"
            raise _wrong_classes(f"received {old[:80]!r}, the data set has {listed}")
        if key in asked:
            raise _wrong_classes(f"{old[:80]!r} and {asked[key][:80]!r} are the same name")
        _check_class("rename", new)
        asked[key] = old
        known[names[key]] = new
    one: dict[str, str] = {}
    for old, new in known.items():
        first = one.setdefault(name_key(new), old)
        if first != old and not merge:
            raise _wrong_classes(
                f"{first!r} and {old!r} would both be {new!r}; to make one class of them, merge"
            )
    spelt = {key: known[old] for key, old in one.items()}
    return {old: spelt[name_key(new)] for old, new in known.items()}


def _wrong_classes(what: str) -> BadParameters:
    return BadParameters(Problem("rename", f"rename: {what}"))


def _with_classes(
    data_set: DataSet, images: Sequence[NewImage]
) -> tuple[list[str], list[NewImage]]:
    """Return the classes of a data set with new ones, and pictures that name them as it does."""
    names = {name_key(name): name for name in data_set.classes}
    for name in dict.fromkeys(name for image in images for name in _class_names(image)):
        if (key := name_key(name)) not in names:
            if not data_set.is_open:
                message = f"classes: received {name[:80]!r}, the data set has "
                listed = ", ".join(map(repr, data_set.classes))
                raise BadParameters(Problem("classes", message + listed))
            names[key] = name
    if len(names) > len(data_set.classes):
        check_classes(list(names.values()))
    return list(names.values()), [_named(image, names) for image in images]


def _named(image: NewImage, names: Mapping[str, str]) -> NewImage:
    label, boxes = image.label, image.boxes
    return replace(
        image,
        label=None if label is None else names[name_key(label)],
        boxes=None
        if boxes is None
        else tuple(replace(box, class_name=names[name_key(box.class_name)]) for box in boxes),
    )


def _class_names(image: NewImage) -> Iterator[str]:
    if image.label is not None:
        yield image.label
    for box in image.boxes or ():
        yield box.class_name


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:20]}"


def _unknown(data_set_id: str) -> NotFound:
    return NotFound(f"data set {data_set_id[:40]!r} does not exist")


def _is_image(data_set_id: str, image_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return data_set_images.c.id == image_id, data_set_images.c.data_set_id == data_set_id


_DATA_SET = sa.select(data_sets)
_WITH_RENAMED = sa.outerjoin(data_set_images, data_set_annotations)


def _as_renamed(name: str) -> sa.ColumnElement[Any]:
    """Return a column of pictures as it is since a class was renamed."""
    is_renamed = data_set_annotations.c.image_id.is_not(None)
    renamed, before = data_set_annotations.c[name], data_set_images.c[name]
    return sa.case((is_renamed, renamed), else_=before)


_LABEL, _BOXES = _as_renamed("label"), _as_renamed("boxes")
_ANNOTATED = sa.select(
    data_set_images.c.id, _LABEL.label("label"), _BOXES.label("boxes")
).select_from(_WITH_RENAMED)
_IMAGE = sa.select(
    *(each for each in data_set_images.c if each.name not in {"label", "boxes", "content"}),
    _LABEL.label("label"),
    _BOXES.label("boxes"),
).select_from(_WITH_RENAMED)


def _in_order(data_set_id: str) -> sa.Select[Any]:
    """Return the query of all pictures of a data set, in the order they were added."""
    mine = _IMAGE.where(data_set_images.c.data_set_id == data_set_id)
    return mine.order_by(data_set_images.c.created_at, data_set_images.c.id)


def _data_set(row: Any) -> DataSet:
    named = dict(row._mapping)  # noqa: SLF001  (SQLAlchemy's documented name)
    named |= {"kind": Kind(named["kind"]), "classes": tuple(orjson.loads(named["classes"]))}
    return DataSet(**named)


def _image(row: Any) -> DataSetImage:
    named = dict(row._mapping)  # noqa: SLF001  (as above)
    boxes = named["boxes"]
    if boxes is not None:
        named["boxes"] = tuple(Box(*box) for box in orjson.loads(boxes))
    return DataSetImage(**named)


def _added(image: NewImage, image_id: str, data_set_id: str, now: float) -> DataSetImage:
    return DataSetImage(
        image_id,
        data_set_id,
        image.name,
        image.sha256,
        image.width,
        image.height,
        len(image.content),
        image.label,
        image.boxes,
        now,
    )


def _values(image: DataSetImage) -> dict[str, Any]:
    values = dict(vars(image))
    if image.boxes is not None:
        boxes = [(box.class_name, box.left, box.top, box.right, box.bottom) for box in image.boxes]
        values["boxes"] = orjson.dumps(boxes).decode()
    return values
