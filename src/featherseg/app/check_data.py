"""Find what is wrong with labelled pictures before it spoils a training.

  featherseg check-data --data folder --root photos
  featherseg check-data --data camvid --root ~/data/camvid --split val
  featherseg check-data --root photos --fix photos-fixed
  featherseg check-data --root photos --report report/
  featherseg check-data --root photos --json

Every picture and mask of every split is read once, by the code that training reads with. Kinds of fault:

  unreadable       a picture or mask that is damaged, or a split that cannot be opened
  unpaired         a picture without mask, a mask without picture
  size-mismatch    a mask of another size than its picture's
  id-out-of-range  a label that is no class
  binary-mask      0 and 255 alone, where 255 means ignored: most likely an object in white
  colour-mask      colours or 24-bit gray instead of one id per pixel
  lossy-mask       JPEG, or the strange colours that its blur leaves
  all-ignore       no pixel has a class
  missing-class    a class that no sound mask of train or of val shows
  leak             the same picture in two splits, under whatever name, also encoded anew

classes.yaml may say `allow: [KIND]` of what is no fault in a data set. --fix OUT writes a repaired copy in the folder
format, checks it again, and never touches the source: mended is what needs no guessing (24-bit gray and colour tables
to ids, strange ids to ignored, masks of the same shape resized to the nearest label, 255 to 1 where there are two
classes); the rest is left out, and of a leaked picture the earlier split's twin. OUT/fixes.txt lists every step.

Exit code: 0 without faults, 1 while there are some (with --fix: in the copy), 2 for a mistake in the command.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from featherseg.app.arguments import parse_count, require_folder
from featherseg.app.progress import Bar
from featherseg.data import FORMATS
from featherseg.runtime.machine import usable_cores

WORKERS = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--data", default="auto", choices=("auto", *FORMATS), help="the layout of the data")
    parser.add_argument("--root", required=True, type=Path, help="the data's folder")
    parser.add_argument(
        "--split", action="append", default=[], help="only this part; may be given again (default: all)"
    )
    parser.add_argument("--fix", type=Path, metavar="OUT", help="write a repaired copy there: a new or empty folder")
    parser.add_argument("--report", type=Path, metavar="DIR", help="also write report.md, report.json and classes.png")
    parser.add_argument(
        "--workers", type=parse_count, help="processes that share the work (default: one per processor)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Check, repair where that is asked for, print; 1 while faults remain."""
    import featherseg.losses  # noqa: F401  counts end in losses' weights; without torch that is said at once
    from featherseg.app.check_report import check_text, described, fault_text, fix_text, write_report
    from featherseg.data import existing
    from featherseg.data.check import check_data
    from featherseg.data.repair import refuse_target, repair

    if args.report is not None:
        require_folder("--report", args.report)
    if args.fix is not None:
        require_folder("--fix", args.fix)
        refuse_target(args.fix, existing(args.root))
    workers = min(WORKERS, usable_cores()) if args.workers is None else args.workers
    with Bar("check", 0) as bar:
        checked = check_data(args.root, args.data, args.split, workers=workers, progress=bar.show)
    content: dict[str, Any] = described(checked)
    text = check_text(checked)
    remaining = checked.faults
    if args.fix is not None:
        with Bar("fix", 0) as bar:
            repaired = repair(checked, args.fix, progress=bar.show)
        with Bar("check again", 0) as bar:
            again = check_data(args.fix, "folder", workers=workers, progress=bar.show)
        remaining = again.faults
        content |= {
            "out": str(repaired.out),
            "actions": [{**action._asdict(), "file": str(action.file)} for action in repaired.actions],
            "remaining": described(again)["faults"],
        }
        text += "\n\n" + fix_text(repaired, checked, again) + "\n\n" + fault_text(again)
    if args.report is not None:
        write_report(args.report, checked, text, content)
    print(json.dumps(content, indent=2) if args.json else text)
    return 1 if remaining else 0
