"""What a data format is: a way to open one split of a tree, and to recognise such a tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from featherseg.data.samples import SegData


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout that labelled pictures come in.

    Attributes:
        title: what it is, in a few words.
        open: (root, split) -> the split; a missing folder or list is an error that names it.
        looks_like: whether a tree is of this format; cheap, and true of no other format's tree.
        splits: the splits that a tree has, in the order train, val, test.
    """

    title: str
    open: Callable[[Path, str], SegData]
    looks_like: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
