"""A known model, in this process.

A model of the operator's own may hang, crash or ask for any memory: it has a process of its own
(`session`). A model of the catalogue is known by its digest. It has run here before it was
declared, so it runs where the request is: that saves a Python process per model and worker, and
the way of the tensors between them.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from numpy.typing import NDArray

from ltu_compute.recognisers.onnx import worker
from ltu_compute.recognisers.onnx.session import ModelError, Outputs

TRIMMED_EVERY_S = 2.0  # seconds between two times that runs give memory back


class Loaded:
    """A model that is loaded when it first runs.

    It computes in the thread that calls, with one thread: an answer does not depend on the number
    of processors. Several threads may call at once.

    Parameters
    ----------
    read : callable
        Returns the ONNX file's content, or raises an error that says why it is not to be had.
    checked : bool, default False
        Whether the content is known to refer to no other file, by its digest: walking through the
        file takes a third of the time to load it.
    """

    def __init__(self, read: Callable[[], bytes], *, checked: bool = False) -> None:
        self._read = read
        self._checked = checked
        self._lock = threading.Lock()
        self._session: Any = None

    @property
    def alive(self) -> bool:
        """Whether it can run; a model in this process always can."""
        return True

    def run(self, tensor: NDArray[Any]) -> Outputs:
        """Return the outputs of the model, by name.

        Parameters
        ----------
        tensor : ndarray
            Its only input.

        Raises
        ------
        ModelError
            Its file is not to be had, or ONNX Runtime fails.
        """
        session = self._loaded()
        names = [found.name for found in session.get_outputs()]
        try:
            found = session.run(names, {session.get_inputs()[0].name: tensor})
        except Exception as error:
            raise ModelError(worker.reason_of(error)) from error
        _give_memory_back()
        return dict(zip(names, found, strict=True))

    def metadata(self, name: str) -> str:
        """Return what the file says under a name, "" where it says nothing.

        Raises
        ------
        ModelError
            As `run`.
        """
        found: str = self._loaded().get_modelmeta().custom_metadata_map.get(name, "")
        return found

    def close(self) -> None:
        """Give its memory back; the next run loads it again."""
        with self._lock:
            self._session = None

    def _loaded(self) -> Any:
        with self._lock:
            if self._session is None:
                try:
                    content = self._read()
                    # Without an arena: that of u2netp alone keeps 450 MB, to save 0.1 s of 0.5.
                    if self._checked:
                        self._session = worker.session_of(content, arena=False)
                    else:
                        self._session, _ = worker.load(content, arena=False)
                except Exception as error:
                    raise ModelError(worker.reason_of(error)) from error
                del content
                _give_memory_back(at_once=True)
            return self._session


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None


class _Last:
    """When memory was given back last, on the clock `time.monotonic`."""

    moment = 0.0


def _give_memory_back(*, at_once: bool = False) -> None:
    """Return to the system what loading and running have left; glibc keeps 20 MB per model.

    It takes 4 ms, so runs do it every few seconds.
    """
    now = time.monotonic()
    if (trim := _trim()) is not None and (at_once or now - _Last.moment >= TRIMMED_EVERY_S):
        _Last.moment = now
        trim(0)
