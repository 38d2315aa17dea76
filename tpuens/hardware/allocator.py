"""The C library's allocator, told to keep what training frees.

A training step on a CPU frees and takes again the same hundreds of megabytes. glibc gives large blocks back
to the system each time, and every step then faults its pages in anew; whether it does depends on which
thread happened to allocate first. On the reference machine (2 cores, glibc 2.36) the CIFAR CNN's step took
57 to 66 ms with the blocks kept, and 106 to 117 ms without where tf.data had started first; a run's system
time was 2 s against 12 s (runs one after the other, not interleaved).
"""

import ctypes
import os
import platform

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed blocks for this process; returns whether it does.

    One arena on the heap, never trimmed below 2 GiB, no blocks mapped one by one. Where the C library is
    another one, or the user has settings of their own (MALLOC_…, GLIBC_TUNABLES, a preloaded allocator),
    nothing is changed. Call it before TensorFlow allocates.
    """
    own = ("GLIBC_TUNABLES", "LD_PRELOAD")
    if platform.libc_ver()[0] != "glibc" or any(
        name in own or name.startswith("MALLOC_") for name in os.environ
    ):
        return False
    library = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_ARENA_MAX, 1), (_M_TRIM_THRESHOLD, _LARGEST))
    return sum(library.mallopt(name, value) for name, value in settings) == len(settings)
