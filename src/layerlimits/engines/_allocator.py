"""The C library's allocator, told to keep what is freed."""

import ctypes

# From malloc.h: how much free memory at the top is kept, and from what size on a block comes from the system itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process, up to a gigabyte, so that the next layer's activations need no new pages.

    Returns:
        Whether this C library can do that: the GNU one can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _KEPT))
