"""What the service asks of the system for its processes: memory and files."""

import ctypes
import os
import resource

OPEN_FILES = 4096  # that a process may have, if the system lets it
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # in malloc.h of the GNU C library
# By what the environment calls it: the option of mallopt, and what it is set to.
ALLOCATION = {
    "MALLOC_ARENA_MAX": (M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (M_MMAP_THRESHOLD, 64 << 20),
    "MALLOC_TRIM_THRESHOLD_": (M_TRIM_THRESHOLD, 96 << 20),
}


def prepare_the_process() -> None:
    """Have memory and files shared out as threads that come and go need it.

    Every thread of a process could have its own arena, and memory that is free in one is of no use
    to the others: the commonest cause of a service that only ever grows. And what a picture took
    would go back to the system after each step, and be cleared anew for the next. Where the
    environment names a number, that counts.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # the GNU C library has it
    for name, (option, value) in ALLOCATION.items():
        if mallopt is not None and name not in os.environ:
            mallopt(option, value)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
