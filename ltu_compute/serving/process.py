"""Settings of the service's processes: memory, files, no core dumps, end with the parent."""

import logging
import os
import resource
import signal
import sys
from contextlib import suppress

from ltu_compute.admission.allocation import keep_memory

OPEN_FILES = 4096  # per process, if the system allows it


def prepare_the_process() -> None:
    """Set up memory and files for many short threads, and turn core dumps off.

    A core dump would hold pictures, tokens and signing keys.
    """
    keep_memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_at_once(ending: SystemExit) -> None:
    """End this process with the status of an exception, without the destructors of its libraries.

    Models are loaded before the workers part. At the end of a worker, ONNX Runtime would wait for
    threads that only its parent has: it aborts, or never ends.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed
            stream.flush()
    os._exit(ending.code if isinstance(ending.code, int) else int(bool(ending.code)))


def lead_process_group() -> None:
    """Make this process the leader of a process group, to which the programs it starts belong."""
    os.setpgid(0, 0)


def end_process_group(leader: int) -> None:
    """End the programs that a process has started and left behind when it ended.

    Tesseract and models end with what started them by their own means, too, where the system has
    any. This holds everywhere, and for whatever else is started.
    """
    with suppress(ProcessLookupError, PermissionError):  # there are none; on macOS, zombies
        os.killpg(leader, signal.SIGKILL)
