"""The service's end of a model's process."""

import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltu_compute.recognisers.onnx import worker

Outputs = Mapping[str, NDArray[Any]]


class ModelError(Exception):
    """A model that cannot be used; the message says why, beginning in lower case."""


@dataclass(frozen=True)
class Bounds:
    """Limits of a model.

    Attributes
    ----------
    bytes : int
        Size of its file, at the most.
    memory : int
        Address space of its process, in bytes, at the most.
    seconds : float
        In which it must load, and in which each run must end.
    """

    bytes: int
    memory: int
    seconds: float


@dataclass(frozen=True)
class Contract:
    """Declaration of a model.

    Attributes
    ----------
    opset : int
        Version of ONNX's operators.
    inputs : tuple of dict
        ``name``, ``type`` and ``shape`` of each; an entry that is not a number is free.
    outputs : tuple of str
        Their names.
    sha256 : str
        Of its file.
    """

    opset: int
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[str, ...]
    sha256: str


class Session:
    """A model in a process of its own, which ends with this object.

    One run at a time; several threads may call.

    Parameters
    ----------
    path : Path
        The ONNX file.
    bounds : Bounds
        What it may be and take.
    sha256 : str, optional
        That its file must have. Default: any.

    Raises
    ------
    ModelError
        If the model is refused, or does not load within its bounds.
    """

    def __init__(self, path: Path, bounds: Bounds, *, sha256: str = "") -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        try:
            self._process = _started(path, bounds, sha256)
        except OSError as error:
            raise ModelError(f"its process could not be started: {error.strerror}") from None
        self._end = weakref.finalize(self, _end, self._process)
        header, _ = self._answer("load")
        self.contract = Contract(
            header["opset"], tuple(header["inputs"]), tuple(header["outputs"]), header["sha256"]
        )

    @property
    def alive(self) -> bool:
        """Whether it can run."""
        return self._end.alive and self._process.poll() is None

    def run(self, tensor: NDArray[Any]) -> Outputs:
        """Return the outputs of the model, by name.

        Parameters
        ----------
        tensor : ndarray
            Its only input, C-contiguous.

        Raises
        ------
        ModelError
            If it fails, or takes more time or memory than it may. Its process has ended then,
            unless the model itself reported the error.
        """
        header = {"shape": tensor.shape, "dtype": tensor.dtype.str}
        with self._lock:
            stream = self._process.stdin
            try:
                if stream is not None:
                    worker.send(stream, header, tensor.data.cast("B"))
            except (BrokenPipeError, ValueError):
                pass  # the answer is missing, too, and its error says why
            reply, content = self._answer("run")
        outputs: dict[str, NDArray[Any]] = {}
        position = 0
        for found in reply["outputs"]:
            dtype, shape = np.dtype(found["dtype"]), tuple(found["shape"])
            count = int(np.prod(shape))
            array = np.frombuffer(content, dtype, count, position).reshape(shape)
            outputs[found["name"]] = array
            position += array.nbytes
        return outputs

    def _answer(self, what: str) -> tuple[dict[str, Any], bytes]:
        stream = self._process.stdout
        message = worker.receive(stream) if stream is not None and not stream.closed else None
        if message is None:
            status = _end(self._process)
            if status == -signal.SIGALRM:
                raise ModelError(f"it did not {what} within {self._bounds.seconds:g} s")
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise ModelError(
                f"its process ended with {name} when it should {what}; most likely it needs more "
                f"than the {self._bounds.memory >> 20} MB that it may have"
            )
        if "error" in message[0]:
            if what == "load":
                self.close()
            raise ModelError(message[0]["error"])
        return message

    def close(self) -> None:
        """End the process."""
        self._end()


def _started(path: Path, bounds: Bounds, sha256: str) -> subprocess.Popen[bytes]:
    """Start a model's process, with no secrets and in a folder that is gone then.

    No relative path leads anywhere from there.
    """
    limits = (bounds.bytes, bounds.memory, bounds.seconds, sha256)
    with tempfile.TemporaryDirectory() as nowhere:
        return subprocess.Popen(  # noqa: S603  (our own file)
            [sys.executable, "-I", worker.__file__, str(path.absolute()), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=nowhere,
            env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )


def _end(process: subprocess.Popen[bytes]) -> int:
    """End a process, if it has not ended, and return its status."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):  # of what it did not read any more
                stream.close()
    try:
        return process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
