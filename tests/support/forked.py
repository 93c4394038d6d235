"""Programs in processes of their own, forked from one that has the imports done.

A Python that imports the service takes half a second of processor time; the process that forks
these is started once for all tests of a process, and is the one that computes jobs.
"""

import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
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
    daemon : bool
        Whether it has no processes of its own.
    """

    def __init__(self, text: str, *arguments: str, folder: Path, daemon: bool = True) -> None:
        count = sum(1 for _ in folder.glob("output-*"))
        self._output = folder / f"output-{count}"
        self._pipe, theirs = _context.Pipe()
        given = (textwrap.dedent(text), list(arguments), str(self._output), theirs)
        self._output.touch()
        self._process = _context.Process(target=_main, args=given, daemon=daemon)
        self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Return when it is ready."""
        assert self._pipe.poll(PATIENCE_S)
        self._pipe.recv()

    def go(self) -> None:
        """Let it go on."""
        self._pipe.send("")

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join(PATIENCE_S)
        self._pipe.close()

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


CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    given = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(given).to_bytes(8)], [0, 1, 2])
    server.sendall(given)
    status = server.recv(1)
sys.exit(status[0] if status else 70)
"""

SERVER = """
import json, os, signal, socket, sys
from ltu_compute.cli import main
import ltu_compute.cli.operations

def run(client):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(client, 8, 3)
    given = b""
    while len(given) < int.from_bytes(length):
        given += client.recv(1 << 20)
    arguments, folder, environment = json.loads(given)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = (open(n, m) for n, m in enumerate("rww"))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        main(arguments, prog_name="ltu-compute")
    except SystemExit as ended:
        status = ended.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    client.sendall(bytes([status]))

with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that have ended
    ready()
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            run(client)
            os._exit(0)
        client.close()
"""


@contextmanager
def commands(folder: Path) -> Iterator[Path]:
    """Make a folder with an ``ltu-compute`` that runs in a fork.

    It does what the program does, whose imports take 1.3 s of processor time each time; tests of
    the command line and of the service run the program itself.
    """
    binaries, address = folder / "bin", folder / "commands"
    binaries.mkdir()
    command = binaries / "ltu-compute"
    command.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    command.chmod(0o755)
    server = Program(SERVER, str(address), folder=folder, daemon=False)
    try:
        server.wait()
        server.go()
        yield binaries
    finally:
        server.kill()
