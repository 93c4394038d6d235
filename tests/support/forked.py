"""Programs in processes of their own, forked from one that has the imports done.

A Python that imports the service takes half a second of processor time; the process that forks
these is started once for all tests of a process, and is the one that computes jobs.
"""

import os
import sys
import textwrap
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.timing import PATIENCE_S

_context = get_context("forkserver")
_context.set_forkserver_preload(["ltu_compute.jobs.work"])  # as the service's own


def _main(program: str, arguments: list[str], output: str, pipe: Connection) -> None:
    """Run a program in this process, whose output goes to a file."""
    with Path(output).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["program", *arguments]
    with pipe:
        names = {"__name__": "__main__", "ready": lambda: (pipe.send(""), pipe.recv())}
        exec(compile(program, "program", "exec"), names)
    sys.stdout.flush()


class Program:
    """A program in a process of its own, with the service imported.

    It may call ``ready()``, which returns as soon as `go` is called.

    Parameters
    ----------
    text : str
        Its source, indented or not.
    arguments : str
        ``sys.argv[1:]``.
    folder : Path
        Where its output is kept.
    """

    def __init__(self, text: str, *arguments: str, folder: Path) -> None:
        count = sum(1 for _ in folder.glob("output-*"))
        self._output = folder / f"output-{count}"
        self._pipe, theirs = _context.Pipe()
        given = (textwrap.dedent(text), list(arguments), str(self._output), theirs)
        self._output.touch()
        self._process = _context.Process(target=_main, args=given, daemon=True)
        self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Return when it is ready."""
        assert self._pipe.poll(PATIENCE_S)
        self._pipe.recv()

    def go(self) -> None:
        """Let it go on."""
        self._pipe.send("")

    def finished(self) -> str:
        """Wait for its end, and return what it has printed."""
        self._process.join(PATIENCE_S)
        self._pipe.close()
        printed = self._output.read_text()
        assert self._process.exitcode == 0, printed
        return printed


def printed(text: str, *arguments: str, folder: Path) -> str:
    """Return what a program prints, errors included."""
    return Program(text, *arguments, folder=folder).finished()
