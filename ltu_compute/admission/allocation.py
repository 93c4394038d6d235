"""Settings of the C library for the memory of the service's processes."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # in malloc.h of the GNU C library
# By what the environment calls it: the option of mallopt, and what it is set to.
ALLOCATION = {
    "MALLOC_ARENA_MAX": (M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (M_MMAP_THRESHOLD, 64 << 20),
    "MALLOC_TRIM_THRESHOLD_": (M_TRIM_THRESHOLD, 96 << 20),
}


def keep_memory() -> None:
    """Have this process keep the memory of a picture for the next one, for all of its threads.

    The GNU C library gives each thread its own arena. Memory that is free in one arena cannot be
    used by other threads, so the service would only grow. By default, the memory of a picture
    would also return to the system after each step and be cleared again for the next one.
    Variables that are set in the environment stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only in the GNU C library
    for name, (option, value) in ALLOCATION.items():
        if mallopt is not None and name not in os.environ:
            mallopt(option, value)
