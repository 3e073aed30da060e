"""How the C library keeps memory that was freed."""

from contextlib import suppress
from ctypes import CDLL

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BLOCK = 128 << 10


def keep_little() -> None:
    """Have freed memory go back to the system, or to the next request whichever thread answers it.

    glibc starts with returning blocks of 128 KiB and more at once, but raises that bound with each large
    block that is freed, up to 32 MiB: after a few large requests it keeps over 20 MB for every thread. And
    every thread has a heap of its own, so that each would keep something. See mallopt(3).
    """
    with suppress(AttributeError, OSError):  # another C library
        mallopt = CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_ARENA_MAX, 1)
