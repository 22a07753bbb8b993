"""The C library's allocator, set to keep freed memory in the process."""

import ctypes

# Options of malloc.h: free memory to keep at the top of the heap, and the size above which a block is mapped by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Keep up to a gigabyte of freed memory in the process, so that the next layer's activations need no new pages.

    Returns:
        Whether the C library supports it, as the GNU C library does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_MMAP_THRESHOLD, _KEPT_BYTES))
