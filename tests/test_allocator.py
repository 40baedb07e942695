"""Freed memory: kept while a run trains, handed back when asked and at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherseg.training.allocator import freed_memory_kept, gnu_c_library, release_freed_memory

LARGE = 200_000_000
glibc = pytest.mark.skipif(gnu_c_library() is None, reason="only the GNU C library keeps and releases when asked")


def held() -> int:
    """Bytes of memory that this process has now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def use_and_free() -> None:
    torch.ones(LARGE // 4)


def fail() -> None:
    use_and_free()
    raise RuntimeError


@glibc
def test_freed_memory_is_kept_until_the_end() -> None:
    release_freed_memory()
    before = held()
    with freed_memory_kept():
        use_and_free()
        assert held() - before > 0.8 * LARGE
    assert held() - before < 0.2 * LARGE
    use_and_free()
    assert held() - before < 0.2 * LARGE  # as ever


@glibc
def test_freed_memory_is_released_when_asked() -> None:
    with freed_memory_kept():
        release_freed_memory()
        before = held()
        use_and_free()
        release_freed_memory()
        assert held() - before < 0.2 * LARGE


@glibc
def test_an_error_ends_it_too() -> None:
    before = held()
    with pytest.raises(RuntimeError), freed_memory_kept():
        fail()
    assert held() - before < 0.2 * LARGE


def test_without_that_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherseg.training.allocator.gnu_c_library", lambda: None)
    with freed_memory_kept():
        use_and_free()
    release_freed_memory()
