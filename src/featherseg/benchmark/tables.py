"""A report for people: a table for the terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from featherseg.benchmark.layers import NEAR, shares

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]

SETTINGS: tuple[Column, ...] = (
    ("on", lambda row: " ".join(filter(None, (row["backend"], row["mode"])))),
    ("device", lambda row: row["device"]),
    ("precision", lambda row: row["precision"]),
    ("size", lambda row: "x".join(map(str, row["size"]))),
    ("threads", lambda row: str(row["threads"])),
    ("batch", lambda row: str(row["batch"])),
    ("tail", lambda row: row["tail_by"]),
    ("weights", lambda row: row["weights"]),
)
"""What was chosen. In the terminal's table what all rows share stands above it."""

MEASURES: tuple[Column, ...] = (
    ("network ms", lambda row: milliseconds(row, "network", "p50")),
    ("p90", lambda row: milliseconds(row, "network", "p90")),
    ("device ms", lambda row: milliseconds(row, "device", "p50")),
    ("decode", lambda row: milliseconds(row, "decode", "p50")),
    ("prepare", lambda row: milliseconds(row, "prepare", "p50")),
    ("labels", lambda row: milliseconds(row, "labels", "p50")),
    ("end to end ms", lambda row: milliseconds(row, "total", "p50")),
    ("p90", lambda row: milliseconds(row, "total", "p90")),
    ("CPU ms", lambda row: milliseconds(row, "processor", "p50")),
    ("pictures/s", lambda row: f"{row['pictures_per_second']:.1f}" if row["batch"] > 1 else ""),
    ("GMACs", lambda row: scaled(row["macs"], 1e-9, 2)),
    ("GFLOP/s", lambda row: scaled(row["gflops"], 1, 1)),
    ("of GEMM", lambda row: percent(row["of_gemm"])),
    ("MB moved", lambda row: scaled(row["bytes_moved"], 1e-6, 1)),
    ("of copy", lambda row: percent(row["of_copy"])),
    ("peak MB", lambda row: peak(row, "host")),
    ("GPU MB", lambda row: peak(row, "device")),
    ("mIoU %", lambda row: scaled(row["miou"], 100, 1) + ("*" if row["scored_elsewhere"] else "")),
)

EXPLAINED = """\
Times are medians and 90th percentiles in milliseconds over {rounds} rounds; in each round every row had one turn, in a
new order. "network" is the network alone, "end to end" prepare + network + labels, and decode where a picture file was
given. "CPU ms" is the processor time of all threads, end to end; it hardly feels what else the machine does.

"of GEMM" is GFLOP/s (2 per MAC) by what a matrix product reaches here; "of copy" the bytes moved in the network's time
by what copying reaches. Both go by the best sample of the limit, so on a busy machine they are too low. "MB moved" is a
count, not a measurement: inputs, outputs and weights of every operation, in onnxruntime after its fusions."""

SLOWEST = 20
"""Layers that a report for people names; the JSON has all."""

ELSEWHERE = "* measured at another size than the one timed here, or at the pictures' own sizes."
RANDOM = "Labels of networks with random weights are made from scores as of a street, the same for all."


def report_text(report: dict[str, Any]) -> str:
    """What the terminal shows."""
    rows = report["results"]
    varying = [column for column in SETTINGS if len({column[1](row) for row in rows}) > 1]
    shared = [f"{head} {cell(rows[0])}" for head, cell in SETTINGS if (head, cell) not in varying]
    lines = [", ".join(shared), "", *aligned(cells(rows, (*varying, *filled(rows))))]
    lines += [
        "",
        *limit_lines(report["limits"]),
        f"{report['settings']['rounds']} rounds, rows in turn",
        *notes(report),
    ]
    for row in layered(rows):
        lines += ["", layers_title(row), *layers_shares(row), "", *aligned(layers_cells(row))]
    return "\n".join(lines)


def report_markdown(report: dict[str, Any], title: str = "Benchmark") -> str:
    """The same as a page, with the machine and what each column means."""
    rows, machine = report["results"], report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    known = " ".join(machine.get("instructions", []))  # reports of before have none
    processor = f"{machine['cpu']}, {machine['cores']} cores" + (f", {known}" if known else "")
    facts = (
        processor + (f"; {machine['gpu']}" if machine["gpu"] else ""),
        f"{machine['os']}; Python {machine['python']}; {versions}",
        f"commit {machine['commit']}; {report['date']}; load average before and after {machine['load_average']}",
        f"picture: {report['settings']['picture']}",
        *limit_lines(report["limits"]),
        *notes(report),
    )
    table = markdown(cells(rows, (*SETTINGS, *filled(rows))))
    explained = EXPLAINED.format(rounds=report["settings"]["rounds"])
    lines = [f"# {title}", "", *table, "", explained, "", *(f"- {fact}" for fact in facts), ""]
    for row in layered(rows):
        lines += [f"## {layers_title(row)}", "", *(f"- {share}" for share in layers_shares(row)), ""]
        lines += [*markdown(layers_cells(row)), ""]
    return "\n".join(lines)


def layered(rows: Sequence[Row]) -> list[Row]:
    """The rows whose layers were timed."""
    return [row for row in rows if row["layers"]]


def layers_title(row: Row) -> str:
    """Whose layers, and their time in all."""
    size = "x".join(map(str, row["size"]))
    whole = sum(layer["ms"] for layer in row["layers"])
    where = f"{row['name']}, {row['backend']}, {row['precision']}, {size}, {row['threads']} thread(s)"
    return f"Layers of {where}: {len(row['layers'])}, {whole:.1f} ms in all"


def layers_shares(row: Row) -> Iterator[str]:
    """Of the time, by the distance to the machine's limit."""
    kinds = shares(row["layers"])
    yield f"{percent(kinds['near'])} of the time: matrix products within {NEAR:g}x of the GEMM limit"
    yield f"{percent(kinds['far'])} of the time: matrix products further from it"
    yield f"{percent(kinds['other'])} of the time: all that multiplies no matrix"


def layers_cells(row: Row) -> list[list[str]]:
    """The slowest layers."""
    whole = sum(layer["ms"] for layer in row["layers"])
    slowest = sorted(row["layers"], key=lambda layer: -layer["ms"])[:SLOWEST]
    lines = [
        [
            layer["name"],
            layer["operation"],
            "x".join(map(str, layer["output"])),
            layer["precision"] or "",
            f"{layer['ms']:.2f}",
            percent(layer["ms"] / whole),
            scaled(layer["macs"] or None, 1e-6, 1),
            percent(layer["of_gemm"]),
        ]
        for layer in slowest
    ]
    return [["slowest layers", "operation", "gives", "precision", "ms", "of all", "MMACs", "of GEMM"], *lines]


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """A table of a page; its heads first."""
    lines = [f"| {' | '.join(line)} |" for line in table]
    return [lines[0], "|---" * len(table[0]) + "|", *lines[1:]]


def cells(rows: Sequence[Row], columns: Sequence[Column]) -> list[list[str]]:
    """The heads, then the rows; the candidate first."""
    heads = ["candidate", *(head for head, _ in columns)]
    return [heads, *([row["name"], *(cell(row) for _, cell in columns)] for row in rows)]


def filled(rows: Sequence[Row]) -> list[Column]:
    """The measures that at least one row has."""
    return [column for column in MEASURES if any(column[1](row) for row in rows)]


def aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns side by side, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        first, *others = (
            f"{cell:{'<' if index == 0 else '>'}{width}}"
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join([first, *others]).rstrip()


def limit_lines(limits: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The machine's own limits."""
    for one in limits:
        where = one["device"] if one["threads"] is None else f"{one['threads']} thread(s)"
        busy = f" (medians {one['gemm_gflops_p50']:g}, {one['copy_gbytes_p50']:g})" if "samples" in one else ""
        yield (
            f"limits, {where}: {one['precision']} GEMM {one['gemm_gflops']:g} GFLOP/s, "
            f"copy {one['copy_gbytes']:g} GB/s{busy}"
        )


def notes(report: dict[str, Any]) -> Iterator[str]:
    """What a reader has to know of these rows."""
    rows = report["results"]
    if any(row["weights"] == "random" for row in rows):
        yield RANDOM
    if any(row["scored_elsewhere"] for row in rows):
        yield ELSEWHERE
    yield from (f"left out: {reason}" for reason in report["left_out"])


def milliseconds(row: Row, stage: str, which: str) -> str:
    """Three significant digits; empty where there is no such stage."""
    value = row["ms"].get(stage, {}).get(which)
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def scaled(value: float | None, factor: float, digits: int) -> str:
    """A number in another unit; empty for none."""
    return "" if value is None else f"{factor * value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share; empty for none."""
    return "" if value is None else f"{100 * value:.0f} %"


def peak(row: Row, where: str) -> str:
    """Peak memory."""
    return "" if row["peak_memory"] is None else scaled(row["peak_memory"][where], 1e-6, 0)
