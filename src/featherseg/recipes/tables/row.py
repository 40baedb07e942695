"""What a paper's table is: rows that name our network and its fields, beside the figures as the paper prints them.

Plain data: nothing here or in the papers' files imports torch. The counts of ours are made by `counts.py`, on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from featherseg.recipes.tables.conventions import WEIGHTS, Cost, Megabytes

Value = str | int | float | bool | None
Size = tuple[int, int]  # (height, width)

RUN_FIELDS = ("loss", "schedule", "precision")  # fields of the run; every other field of a row is the network's


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed row.

    Attributes:
        name: the row's name in the paper.
        printed: the paper's figures as printed, one text for each column of the table; "" where the cell is blank.
        model: our network's name, None where featherseg has none.
        fields: the fields of that network.
        run: what of the run the paper names for this row: loss, schedule, precision.
        size: (height, width) that this row is counted at, where it is not the table's.
        note: an erratum, or how our count differs.
    """

    name: str
    printed: tuple[str, ...]
    model: str | None = None
    fields: Mapping[str, Value] = field(default_factory=dict)
    run: Mapping[str, str] = field(default_factory=dict)
    size: Size | None = None
    note: str = ""

    def __post_init__(self) -> None:
        assert set(self.run) <= set(RUN_FIELDS), f"{self.name}: fields of the run are {RUN_FIELDS}"
        assert not set(self.fields) & set(RUN_FIELDS), f"{self.name}: {RUN_FIELDS} belong in run"
        assert self.model or not self.fields, f"{self.name}: fields of no network"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a paper.

    Attributes:
        name: what one types, as "003-T2" or "004-I".
        paper: the paper's number, "000" to "004".
        title: what it compares, in our words.
        columns: the headings of the paper's figures.
        rows: in the paper's order.
        num_classes: classes that our networks are counted with.
        size: (height, width) that they are counted at.
        cost: how the paper counts computation.
        mbytes: how the paper counts megabytes.
        in_paper: False for a table of the house.
        same_networks: False where the printed counts are of other networks than ours.
        networks: the networks of a table whose columns they are; its rows are then no networks.
        notes: errata, and how to read it.
    """

    name: str
    paper: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    num_classes: int
    size: Size
    cost: Cost
    mbytes: Megabytes = WEIGHTS
    in_paper: bool = True
    same_networks: bool = True
    networks: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row.printed) == len(self.columns), f"{self.name}, {row.name}: {len(row.printed)} figures"
        names = tuple(network.name for network in self.networks)
        assert names in ((), self.columns), f"{self.name}: networks are {self.columns}"

    def theirs(self, row: Row) -> dict[str, Value]:
        """Column -> printed value, as a number where it is one and None where the cell is blank."""
        return {column: figure(text) for column, text in zip(self.columns, row.printed, strict=True)}

    def size_of(self, row: Row) -> Size:
        """(height, width) that this row is counted at."""
        return row.size or self.size


def figure(text: str) -> Value:
    """The value of a printed cell: "160" -> 160, "+2.62" -> 2.62, "" and "-" -> None; other text stays text."""
    if text in ("", "-"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
