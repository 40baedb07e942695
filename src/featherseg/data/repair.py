"""A repaired copy of a checked data set, in the folder format; the source is read and never touched.

What can be mended without guessing is mended, the rest is left out; every step is listed. Of a leaked picture the
earlier split's twin is left out, so that val and test stay whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from featherseg.data.check import Checked, CheckedSplit
from featherseg.data.looks import Looked
from featherseg.data.masks import ColourMasks, Fault, IndexMasks, Mask, Pair, is_binary
from featherseg.data.samples import Inspected, Progress, SegData
from featherseg.runtime.decoding import RawMask, read_raw_mask
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import save_mask, write_atomically

ASPECT = 0.05  # relative; with a side that rounding moves by a pixel a small mask's aspect is a little off


class Action(NamedTuple):
    """One thing done to a file on its way into the copy.

    Attributes:
        file: of the source.
        kind: the fault that called for it; empty where none did.
        action: "left out", "converted", "resized", "ids ignored", "renamed".
        detail: in words.
    """

    file: Path
    kind: str
    action: str
    detail: str


class Mended(NamedTuple):
    """The class ids to write, or None where the pair is left out, and what was done."""

    ids: Mask | None
    actions: tuple[Action, ...]


class Repaired(NamedTuple):
    """The copy: its folder and every action, in the order of splits."""

    out: Path
    actions: tuple[Action, ...]


def repair(checked: Checked, out: Path, progress: Progress | None = None) -> Repaired:
    """Write the repaired copy; classes.yaml comes last, so that a copy that was broken off is no data set.

    Raises:
        FeathersegError: for a folder that must not be written to (`refuse_target`), or when no picture is left.
    """
    refuse_target(out, checked.root)
    total, done = sum(len(split.looks) for split in checked.splits), 0
    kept: set[tuple[str, Path]] = set()
    by_split: list[list[Action]] = []
    for split in reversed(checked.splits):  # a twin is dropped only where the later picture is kept
        actions = [left_out(fault) for fault in split.data.unpaired]
        leaked = twins_of(checked, split, kept)
        stems: set[str] = set()
        for index, pair in enumerate(split.data.pairs):
            mended = without_twin(pair, leaked) or mend(split.data, index, split.looks[index])
            written = write_pair(out, split.data, pair, mended, stems)
            actions += written
            if not any(action.action == "left out" for action in written):
                kept.add((split.name, pair.image))
            done += 1
            if progress is not None:
                progress(done, total)
        by_split.append(actions)
    if not kept:
        raise FeathersegError(f"{checked.root}: no pair is left after the repair; nothing to write to {out}")
    every = [action for actions in reversed(by_split) for action in actions]
    every = [*conversions(checked.splits), *every]
    lines = [f"{one.action}\t{one.kind or '-'}\t{one.file}\t{one.detail}" for one in every]
    text = "\n".join(["action\tfault\tfile\tdetail", *lines, ""])
    write_atomically(out / "fixes.txt", lambda file: file.write(text.encode("utf-8", "surrogateescape")))
    write_settings(out / "classes.yaml", checked)
    return Repaired(out, tuple(every))


def refuse_target(out: Path, root: Path) -> None:
    """Refuse a folder that is not empty, or that lies in the source."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FeathersegError(
            f"--fix {out}", expected="a folder that does not exist or is empty", got="one with content"
        )
    if out.resolve().is_relative_to(root.resolve()):
        raise FeathersegError(f"--fix {out}", expected="a folder outside the data", got=f"one inside {root}")


def twins_of(checked: Checked, split: CheckedSplit, kept: set[tuple[str, Path]]) -> dict[Path, Fault]:
    """The pictures of a split that a later one shows too and keeps."""
    found: dict[Path, Fault] = {}
    for leak in checked.leaks:
        if (leak.split, leak.file) in kept:
            for twin in leak.twins:
                if twin.split == split.name:
                    found[twin.file] = Fault(twin.file, "leak", f"the {leak.split} split keeps it: {leak.file}")
    return found


def without_twin(pair: Pair, leaked: dict[Path, Fault]) -> Mended | None:
    """The pair left out where a later split keeps its picture."""
    return Mended(None, (left_out(leaked[pair.image]),)) if pair.image in leaked else None


def left_out(fault: Fault) -> Action:
    """The file is not copied."""
    return Action(fault.file, fault.kind, "left out", fault.detail)


def mend(data: SegData, index: int, look: Looked) -> Mended:
    """One pair, mended as far as that needs no guessing."""
    pair = data.pairs[index]
    hopeless = [fault for fault in look.faults if fault.kind in ("unreadable", "lossy-mask", "unpaired")]
    if hopeless:
        return Mended(None, tuple(left_out(fault) for fault in hopeless))
    if pair.mask is None:
        return Mended(None, ())
    found = data.inspect(index)
    if found.image is None:
        return Mended(None, (Action(pair.image, "unreadable", "left out", "it cannot be read any more"),))
    mended = mended_labels(data, pair.mask, found, look.faults)
    if mended.ids is None:
        return mended
    mended = mended_size(pair.mask, mended, found.image.shape[:2])
    if mended.ids is None:
        return mended
    return worth_keeping(pair.mask, mended, data)


def mended_labels(data: SegData, mask: Path, found: Inspected, faults: Sequence[Fault]) -> Mended:
    """Class ids from what the mask says, at its own size."""
    actions: list[Action] = []
    ids, problems = found.ids, {fault.kind: fault for fault in faults}
    colour = problems.get("colour-mask")
    if colour is not None:
        inner = gray_labels(data, mask)
        if inner is None:
            return Mended(None, (left_out(colour),))
        ids, doubts = inner
        actions.append(Action(mask, "colour-mask", "converted", "24-bit gray to one id per pixel"))
        problems |= {fault.kind: fault for fault in doubts}
    if ids is None:
        return Mended(None, tuple(left_out(fault) for fault in faults))
    classes, binary = data.classes, problems.get("binary-mask")
    if binary is not None:
        if len(classes) != 2:
            return Mended(None, (left_out(binary),))
        ids = (ids == classes.ignore_index).astype(np.uint8)  # of 0 and 255, the latter alone is no class
        actions.append(Action(mask, "binary-mask", "converted", f"255 to 1, {classes.names[1]!r}"))
    elif "id-out-of-range" in problems:
        detail = problems["id-out-of-range"].detail
        actions.append(Action(mask, "id-out-of-range", "ids ignored", detail))
    return Mended(ids, tuple(actions))


def gray_labels(data: SegData, mask: Path) -> tuple[Mask, tuple[Fault, ...]] | None:
    """The ids of a 24-bit gray mask and whether they are doubtful; None for colours, and for values that are no ids."""
    pixels = read_raw_mask(mask).pixels
    if not isinstance(data.masks, IndexMasks) or pixels.ndim != 3 or (pixels != pixels[..., :1]).any():
        return None
    read = data.masks.interpret(mask, RawMask(np.ascontiguousarray(pixels[..., 0]), None, False))
    if read.ids is None or any(fault.kind != "binary-mask" for fault in read.faults):
        return None
    return read.ids, read.faults


def mended_size(mask: Path, mended: Mended, size: tuple[int, ...]) -> Mended:
    """The ids at the picture's size, as far as the mask is only a smaller or larger one of it."""
    assert mended.ids is not None
    height, width = mended.ids.shape
    if (height, width) == tuple(size):
        return mended
    words = f"{width}x{height} to {size[1]}x{size[0]}"
    if not same_aspect((height, width), (size[0], size[1])):
        detail = f"a mask of {width}x{height} for a picture of {size[1]}x{size[0]}, which is another shape"
        return Mended(None, (*mended.actions, Action(mask, "size-mismatch", "left out", detail)))
    image = PILImage.fromarray(mended.ids).resize((size[1], size[0]), PILImage.Resampling.NEAREST)
    action = Action(mask, "size-mismatch", "resized", f"{words}, to the nearest label")
    return Mended(np.array(image), (*mended.actions, action))


def same_aspect(mask: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Whether one scale, with sides rounded up or down, leads from the picture's size to the mask's."""
    low = max((side - 1) / whole for side, whole in zip(mask, picture, strict=True))
    high = min((side + 1) / whole for side, whole in zip(mask, picture, strict=True))
    return low < high and abs(mask[0] * picture[1] / (mask[1] * picture[0]) - 1) <= ASPECT


def worth_keeping(mask: Path, mended: Mended, data: SegData) -> Mended:
    """Leave out what has no label, or would be taken for a binary mask because strange ids became ignored."""
    assert mended.ids is not None
    if (mended.ids == data.classes.ignore_index).all():
        return Mended(None, (*mended.actions, Action(mask, "all-ignore", "left out", "no pixel has a class")))
    doubt = doubts_binary(data) and data.classes.ignore_index == 255
    if doubt and is_binary(mended.ids, ignored=True):
        detail = "only background and ignored pixels are left of it"
        return Mended(None, (*mended.actions, Action(mask, "id-out-of-range", "left out", detail)))
    return mended


def doubts_binary(data: SegData) -> bool:
    """Whether masks of 0 and 255 are no sound ones in this data set."""
    return isinstance(data.masks, IndexMasks) and data.masks.doubt_binary


def write_pair(out: Path, data: SegData, pair: Pair, mended: Mended, stems: set[str]) -> list[Action]:
    """Copy the picture byte for byte and write its mask; the actions, with the one of a name that was taken."""
    actions = list(mended.actions)
    if any(action.action == "left out" for action in actions):
        return actions
    stem, number = pair.image.stem, 2
    while stem in stems:
        stem, number = f"{pair.image.stem}_{number}", number + 1
    if stem != pair.image.stem:
        detail = f"to {stem}{pair.image.suffix}, since two pictures share a name"
        actions.append(Action(pair.image, "", "renamed", detail))
    stems.add(stem)
    part = "." if data.split == "all" else data.split
    picture = out / "images" / part / f"{stem}{pair.image.suffix}"
    if mended.ids is not None:
        mask = out / "masks" / part / f"{stem}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        save_mask(mended.ids, mask, data.classes)
    picture.parent.mkdir(parents=True, exist_ok=True)
    with pair.image.open("rb") as source:
        write_atomically(picture, lambda file: shutil.copyfileobj(source, file))
    return actions


def conversions(splits: Sequence[CheckedSplit]) -> list[Action]:
    """What happens to every mask of a split alike."""
    return [
        Action(split.data.root, "", "converted", f"{split.name}: the masks' colours to one id per pixel")
        for split in splits
        if isinstance(split.data.masks, ColourMasks)
    ]


def write_settings(path: Path, checked: Checked) -> None:
    """classes.yaml of the copy: its masks hold ids, whatever the source's hold."""
    import yaml

    data = checked.splits[0].data
    allowed = set(data.allowed)
    if not doubts_binary(data):
        allowed.add("binary-mask")  # else the copy would be doubted where the source is not
    content: dict[str, object] = {"names": list(data.classes.names), "ignore_index": data.classes.ignore_index}
    if data.terms:
        content["terms"] = data.terms
    if allowed:
        content["allow"] = sorted(allowed)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_atomically(path, lambda file: file.write(text.encode()))
