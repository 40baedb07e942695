"""What check-data found, for people and for programs: aligned text, JSON, and a folder with both and a chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featherseg.data.check import Checked, CheckedSplit
from featherseg.data.masks import FAULTS
from featherseg.data.objects import ClassCount
from featherseg.data.repair import Repaired
from featherseg.runtime.pixels import write_atomically

BAR = 24
LISTED = 20  # faults of one kind that the text shows


def described(checked: Checked) -> dict[str, Any]:
    """Everything as JSON values."""
    counted = checked.counted
    return {
        "root": str(checked.root),
        "format": checked.format,
        "faults": [{"file": str(file), "kind": kind, "detail": detail} for file, kind, detail in checked.faults],
        "splits": {split.name: split_values(split) for split in checked.splits},
        "counted_on": None if counted is None else counted.name,
        "classes": [] if counted is None else [count._asdict() for count in counted.count()],
        "notes": list(checked.notes),
    }


def split_values(split: CheckedSplit) -> dict[str, Any]:
    """One split as JSON values; the shares are those of its labelled pixels."""
    return {
        "pictures": len(split.looks),
        "labelled": split.data.labelled,
        "sound": sum(look.sound for look in split.looks),
        "unpaired": len(split.data.unpaired),
        "sizes": split.sizes,
        "shares": {count.name: count.share for count in split.count()} if split.data.labelled else {},
    }


def check_text(checked: Checked) -> str:
    """The whole result as text."""
    parts = [f"{checked.root} ({checked.format}, {len(checked.classes)} classes)", split_text(checked.splits)]
    counted = checked.counted
    if counted is not None:
        parts.append(f"classes of the {counted.name} split, in its sound masks\n{class_text(counted.count())}")
    if checked.notes:
        parts.append("\n".join(f"note: {note}" for note in checked.notes))
    return "\n\n".join([*parts, fault_text(checked)])


def split_text(splits: Sequence[CheckedSplit]) -> str:
    """A row for each split."""
    rows = [("split", "pairs", "sound", "unpaired", "sizes")]
    for split in splits:
        sizes = [f"{size} ({count})" for size, count in split.sizes.items()]
        more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
        sound = str(sum(look.sound for look in split.looks)) if split.data.labelled else "no masks"
        rows.append(
            (split.name, str(len(split.looks)), sound, str(len(split.data.unpaired)), ", ".join(sizes[:3]) + more)
        )
    return aligned(rows, left=(0, 4))


def class_text(counts: Sequence[ClassCount]) -> str:
    """A row for each class, with a bar as long as its share."""
    rows = [("class", "share", "", "pictures", "objects", "median px", "weight", "alpha", "gamma")]
    most = max((count.share for count in counts), default=0.0) or 1.0
    rows += [
        (
            count.name,
            f"{100 * count.share:.2f} %",
            "#" * (round(BAR * count.share / most) or (count.share > 0)),
            str(count.pictures),
            str(count.objects),
            "-" if count.median_size is None else f"{count.median_size:.0f}",
            f"{count.weight:.2f}",
            "-" if count.alpha is None else f"{count.alpha:.2f}",
            "-" if count.gamma is None else f"{count.gamma:.0f}",
        )
        for count in counts
    ]
    return aligned(rows, left=(0, 2)) + "\nweight: 1/ln(share + 1.02), of wcel; alpha and gamma: of owfl"


def aligned(rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> str:
    """Rows as columns; numbers stand to the right, the columns of `left` to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def fault_text(checked: Checked) -> str:
    """The faults by kind, each kind with what to do."""
    total = len(checked.faults)
    parts = [f"{total} fault{'s' if total > 1 else ''} in {checked.root}" if total else f"no faults in {checked.root}"]
    for kind, remedy in FAULTS.items():
        found = [fault for fault in checked.faults if fault.kind == kind]
        if found:
            lines = [f"  {within(fault.file, checked.root)}: {fault.detail}" for fault in found[:LISTED]]
            more = [f"  ... and {len(found) - LISTED} more; --json lists all"] if len(found) > LISTED else []
            parts.append("\n".join([f"{kind} ({len(found)}): {remedy}", *lines, *more]))
    return "\n\n".join(parts)


def fix_text(repaired: Repaired, checked: Checked, again: Checked) -> str:
    """What went into the copy, and every action."""
    splits = ", ".join(f"{split.name} {len(split.looks)}" for split in again.splits)
    lines = [f"{repaired.out}: the repaired copy ({splits}); fixes.txt lists the {len(repaired.actions)} actions"]
    for action in repaired.actions:
        kind = f" ({action.kind})" if action.kind else ""
        lines.append(f"  {action.action}{kind}: {within(action.file, checked.root)}: {action.detail}")
    return "\n".join(lines)


def within(file: Path, root: Path) -> str:
    """The path as seen from the data's folder."""
    return str(file.relative_to(root)) if file != root and file.is_relative_to(root) else str(file)


def write_report(folder: Path, checked: Checked, text: str, content: dict[str, Any]) -> None:
    """Write report.md, report.json and, where classes were counted, classes.png, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content, indent=2)
    lines = [f"# Labels of {checked.root}", ""]
    if checked.counted is not None:
        draw(
            folder / "classes.png", checked.counted.count(), title=f"{checked.root.name}, {checked.counted.name} split"
        )
        lines += ["![](classes.png)", ""]
    lines += ["```", text, "```", ""]
    write_atomically(folder / "report.json", lambda file: file.write(data.encode()))
    write_atomically(folder / "report.md", lambda file: file.write("\n".join(lines).encode("utf-8", "replace")))


def draw(path: Path, counts: Sequence[ClassCount], *, title: str) -> None:
    """Bars of the classes' shares and of their objects' median sizes."""
    from matplotlib.figure import Figure

    names = [count.name for count in counts]
    figure = Figure(figsize=(11, 1.5 + 0.28 * len(counts)), layout="constrained")
    shares, sizes = figure.subplots(1, 2, sharey=True)
    shares.barh(names, [100 * count.share for count in counts])
    shares.set_xlabel("share of the labelled pixels (%)")
    sizes.barh(names, [count.median_size or 0 for count in counts])
    sizes.set_xscale("symlog", linthresh=1)
    sizes.set_xlabel("median size of an object (pixels)")
    for row, count in enumerate(counts):
        sizes.text(count.median_size or 0, row, f" {count.objects} objects", va="center", fontsize=7)
    sizes.margins(x=0.25)
    shares.invert_yaxis()
    figure.suptitle(title)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))
