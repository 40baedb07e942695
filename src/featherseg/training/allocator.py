"""Memory that one training step frees, kept for the next instead of being handed back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Parameters of mallopt, malloc.h of the GNU C library, and where its own adjustment of two of them ends on 64 bits.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
USUAL = {M_MMAP_MAX: 65_536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the process keep what it frees, where it can (Linux with the GNU C library), and give it back at the end.

    Large tensors live for part of a step. Left alone, the C library maps each of them anew and unmaps it when freed,
    and the system zeroes every page again. Kept instead, pages are used again as they are. The price is a higher peak:
    what of the heap lies in pieces that fit nothing. benchmarks/results/training_step_kept_memory.md has both.
    """
    library = gnu_c_library()
    if library is None:
        yield
        return
    set_parameters(library, KEEPING)
    try:
        yield
    finally:
        set_parameters(library, USUAL)
        library.malloc_trim(0)


def release_freed_memory() -> None:
    """Hand back to the system what was freed until now, where it can."""
    library = gnu_c_library()
    if library is not None:
        library.malloc_trim(0)


def gnu_c_library() -> ctypes.CDLL | None:
    """The C library of this process, where it is GNU's."""
    if sys.platform == "linux":
        with suppress(OSError):
            library = ctypes.CDLL(None)
            return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    return None


def set_parameters(library: ctypes.CDLL, parameters: dict[int, int]) -> None:
    """One call of mallopt for each."""
    for parameter, value in parameters.items():
        library.mallopt(parameter, value)
