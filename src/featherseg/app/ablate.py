"""The tables of the papers: the paper's figures beside our own counts.

With a table's name, each row's network is built and its parameters are printed, its multiply-accumulates (MACs), its
cost in the paper's own convention and its size, then what the paper prints, then how each row is built and where the
paper errs. Nothing is trained or downloaded.

With --train the rows are trained one after the other by the recipe of their network for the data (MODEL_camvid for
data.format=camvid), each in its own run directory below out (default runs/ablate), and scored. A finished row is not
trained again, a row that was stopped goes on, rows of several tables that are the same run share it. A row that fails
says why and the others go on; the exit code is then 1. The table is printed and written to out as Markdown and JSON,
with the run cards. Of 003-T4, whose rows are classes, the two networks in its columns are trained.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING, Any

from featherseg.app.arguments import add_device
from featherseg.recipes.tables import PAPERS, TABLES, Row, Table, figure, find_table
from featherseg.runtime.errors import FeathersegError

if TYPE_CHECKING:
    from featherseg.recipes.tables.counts import Counts

WIDE = 10  # a table with more figures than this prints a row as a column
WIDTH = 110  # of the running text under a table

EXAMPLES = """examples:
  featherseg ablate --list               every table, by paper
  featherseg ablate 003-T2               what each attention costs in the network of paper 003
  featherseg ablate 004-I --json         the rows as data: row, model, fields, params, macs, cost, mbytes, theirs
  featherseg ablate 004-I --train data.format=camvid data.root=~/data/camvid epochs=20
  featherseg ablate 004-I --train data.format=camvid data.root=~/data/camvid epochs=20 --rows EWA --rows Concat
  featherseg ablate 004-I --collect data.format=camvid data.root=~/data/camvid epochs=20     print what is trained
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = EXAMPLES
    parser.add_argument("table", nargs="?", metavar="TABLE", help="a table's name, as 003-T2 or 004-I (see --list)")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of the training (with --train)")
    parser.add_argument("--list", action="store_true", help="name every table of every paper")
    parser.add_argument("--json", action="store_true", help="print data instead of text")
    parser.add_argument("--train", action="store_true", help="train the rows and print what came of them")
    parser.add_argument("--collect", action="store_true", help="as --train, of the rows trained so far; trains none")
    parser.add_argument("--rows", action="append", default=[], metavar="ROW", help="train only the row of this name")
    add_device(parser, "where the rows train (with --train); the same as device=...", default=None)


def run(args: argparse.Namespace) -> int:
    """List the tables or print one; returns the exit code."""
    training = args.train or args.collect
    settings = [*args.settings, *([f"device={args.device}"] if args.device else [])]
    if args.list and training:
        raise FeathersegError("ablate --list trains nothing", remedy="leave out --list, or --train and --collect")
    if settings and not training:
        raise FeathersegError(f"{settings[0]!r} is a setting of the training", remedy="add --train, or leave it out")
    if args.rows and not training:
        raise FeathersegError("--rows", expected="--train or --collect beside it", got="neither")
    if args.list and args.table:
        raise FeathersegError("ablate", expected="TABLE or --list", got="both", remedy="leave one out")
    if args.list:
        print(json_text(listed()) if args.json else list_text())
        return 0
    if not args.table:
        raise FeathersegError("ablate", expected="TABLE or --list", got="neither", remedy="featherseg ablate --list")
    table = find_table(args.table)
    if training:
        from featherseg.app.ablate_training import train_table

        return train_table(table, settings, rows=args.rows, collect=args.collect, as_json=args.json)
    counted = count(table)
    rows = [described(table, row, counts) for row, counts in zip(table.rows, counted, strict=True)]
    print(json_text(rows) if args.json else table_text(table, counted))
    return 0


def json_text(data: object) -> str:
    """`data` as JSON."""
    return json.dumps(data, indent=2)


def listed() -> list[dict[str, Any]]:
    """Every table as data."""
    return [
        {
            "table": table.name,
            "paper": table.paper,
            "title": table.title,
            "in_paper": table.in_paper,
            "rows": len(table.rows),
            "notes": list(table.notes),
        }
        for table in TABLES.values()
    ]


def list_text() -> str:
    """Every table as text, by paper."""
    blocks = []
    for paper, reference in PAPERS.items():
        tables = [table for table in TABLES.values() if table.paper == paper]
        lines = [f"  {table.name:<9}  {len(table.rows):>2} rows  {table.title}" for table in tables]
        blocks.append("\n".join([f"{paper}  {reference}", *lines]))
    return "\n\n".join(blocks) + "\n\nfeatherseg ablate TABLE prints one, ours beside the paper's."


def count(table: Table) -> list[Counts | None]:
    """Our counts, row by row; torch is imported only where there is something to count."""
    if not any(row.model for row in table.rows):
        return [None for _ in table.rows]
    from featherseg.recipes.tables.counts import count_row

    return [count_row(table, row) for row in table.rows]


def described(table: Table, row: Row, counts: Counts | None) -> dict[str, Any]:
    """A row as data; `fields` holds the network's fields, then those of the run that the paper names."""
    cost = {"unit": table.cost.unit, "convention": table.cost.text}
    return {
        "row": row.name,
        "model": row.model,
        "fields": {**row.fields, **row.run},
        "num_classes": table.num_classes,
        "size": list(table.size_of(row)),
        "params": counts.params if counts else None,
        "macs": counts.macs if counts else None,
        "cost": {"value": round(counts.cost, 6), **cost} if counts else None,
        "mbytes": round(counts.mbytes, 3) if counts else None,
        "mbytes_convention": table.mbytes.text,
        "theirs": table.theirs(row),
        "note": row.note,
    }


def table_text(table: Table, counted: list[Counts | None]) -> str:
    """A table as text: what it is, its figures, how its rows are built, notes."""
    sizes = {table.size_of(row) for row in table.rows}
    size = "{}x{}".format(*sizes.pop()) if len(sizes) == 1 else "the size of the row"
    cost, mbytes = table.cost, table.mbytes
    head = [f"{table.name}: {table.title}", f"paper {table.paper}: {PAPERS[table.paper]}"]
    if any(counted):
        head += [f"ours: {table.num_classes} classes at {size}; {cost.unit} are {cost.text}; MB are {mbytes.text}"]
    built = [f"{row.name}: {recipe}" for row in table.rows if (recipe := built_as(row))]
    notes = [*table.notes, *(f"{row.name}: {row.note}" for row in table.rows if row.note)]
    blocks = ["\n".join(head), aligned(*figures(table, counted)), listing("rows", built), listing("notes", notes)]
    return "\n\n".join(block for block in blocks if block)


def built_as(row: Row) -> str:
    """`affnet fusion=ewa, trained with loss=owfl_ce`; empty for a row that no network of ours stands for."""
    if row.model is None:
        return ""
    network = " ".join([row.model, *(f"{name}={value}" for name, value in row.fields.items())])
    trained = " ".join(f"{name}={value}" for name, value in row.run.items())
    return f"{network}, trained with {trained}" if trained else network


def figures(table: Table, counted: list[Counts | None]) -> tuple[list[list[str]], list[list[str]]]:
    """Our block and the paper's, each with its headings first; a wide table has its rows as columns."""
    ours = [["row", "params", "MACs (G)", table.cost.unit, "MB"]]
    for row, counts in zip(table.rows, counted, strict=True):
        ours.append([row.name, *cells(counts)])
    if not any(counted):
        ours = [line[:1] for line in ours]
    theirs = [list(table.columns), *(list(row.printed) for row in table.rows)]
    return ours, theirs


def cells(counts: Counts | None) -> list[str]:
    """The counts as text; blank where there are none."""
    if counts is None:
        return ["", "", "", ""]
    return [f"{counts.params:,}", f"{counts.macs / 1e9:.3f}", f"{counts.cost:.3f}", f"{counts.mbytes:.2f}"]


def aligned(ours: list[list[str]], theirs: list[list[str]]) -> str:
    """Both blocks side by side under "ours" and "paper"; one above the other where the paper's has many columns."""
    if len(theirs[0]) > WIDE:
        top, *mine = columns_of(ours)
        lines = padded([top, *mine, *columns_of(theirs)])
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1 : len(ours[0])], rule, *lines[len(ours[0]) :]])
    left, right = padded(ours), padded(theirs)
    rule = "-" * (len(left[0]) + 1) + "+" + "-" * (len(right[0]) + 1)
    title = f"{'ours' if len(ours[0]) > 1 else '':>{len(left[0])}} | paper"
    heading, *body = (f"{mine} | {printed}".rstrip() for mine, printed in zip(left, right, strict=True))
    return "\n".join([title, heading, rule, *body])


def columns_of(lines: list[list[str]]) -> list[list[str]]:
    """The columns of a block, each as a line."""
    return [list(column) for column in zip(*lines, strict=True)]


def padded(lines: list[list[str]]) -> list[str]:
    """Lines of cells as text, headings first: a column of figures stands to the right, one with words to the left."""
    texts = []
    for heading, *body in columns_of(lines):
        width = max(map(len, [heading, *body]))
        side = "<" if any(isinstance(figure(cell.replace(",", "")), str) for cell in body) else ">"
        texts.append([f"{cell:{side}{width}}" for cell in [heading, *body]])
    return ["  ".join(line) for line in zip(*texts, strict=True)]


def listing(title: str, items: list[str]) -> str:
    """A titled list, wrapped; empty where there is nothing to list."""
    if not items:
        return ""
    wrapped = (textwrap.fill(item, WIDTH, initial_indent="  ", subsequent_indent="      ") for item in items)
    return "\n".join([f"{title}:", *wrapped])
