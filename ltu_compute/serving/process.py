"""What the service asks of the system for its processes: memory, files, no core dumps, an end."""

import ctypes
import os
import resource
import signal
from contextlib import suppress

OPEN_FILES = 4096  # per process, if the system allows it
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # in malloc.h of the GNU C library
# By what the environment calls it: the option of mallopt, and what it is set to.
ALLOCATION = {
    "MALLOC_ARENA_MAX": (M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (M_MMAP_THRESHOLD, 64 << 20),
    "MALLOC_TRIM_THRESHOLD_": (M_TRIM_THRESHOLD, 96 << 20),
}


def prepare_the_process() -> None:
    """Set up memory and files for threads that come and go, and turn core dumps off.

    The GNU C library gives each thread an arena of its own, and memory that is free in one is of no
    use to the others: the commonest cause of a service that only ever grows. And what a picture
    took would go back to the system after each step, and be cleared anew for the next. A variable
    that the environment has set is left as it is.

    A core dump would hold pictures, tokens and signing keys.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only in the GNU C library
    for name, (option, value) in ALLOCATION.items():
        if mallopt is not None and name not in os.environ:
            mallopt(option, value)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


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
