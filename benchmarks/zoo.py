"""The zoo's tables and its picture, in docs and README.md, from the cards of the networks and measured latencies.

    python benchmarks/zoo.py

Latencies are those of benchmarks/results/zoo-latency.json. They depend on no weights, so they are those of the
networks by name, at the sizes that they see pictures at:

    featherseg benchmark NETWORK... --size 480x640 576x768 --classes 11 --json > benchmarks/results/zoo-latency.json

Cards are those inside weights/*.safetensors, and weights/*.json of networks whose weights are not shipped.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from featherseg.benchmark.chart import write_chart
from featherseg.benchmark.plan import Candidate
from featherseg.models import MODELS, ModelConfig
from featherseg.models.checkpoint import read_checkpoint
from featherseg.runtime.engines import open_engine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LATENCIES = HERE / "results" / "zoo-latency.json"
BUNDLED = ROOT / "src" / "featherseg" / "runtime" / "bundled"
PICTURE = HERE / "results" / "zoo.png"
BEGIN, END = "<!-- zoo: written by benchmarks/zoo.py -->", "<!-- /zoo -->"

Card = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, a cell's value, how it is written, and which is best; None where none is."""

    head: str
    value: Callable[[Card], Any]
    text: Callable[[Any], str] = str
    best: Callable[[Sequence[float]], float] | None = None


@dataclass(frozen=True)
class Table:
    """Rows that may be compared with each other."""

    title: str
    about: str
    belongs: Callable[[Card], bool]
    shown_first: bool = False  # in README and in the picture


def read_cards() -> list[Card]:
    """Every card, the best mIoU first."""
    cards = [read_checkpoint(path)[2].card for path in sorted((ROOT / "weights").glob("*.safetensors"))]
    cards += [json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "weights").glob("*.json"))]
    published = [card for card in cards if "spread" in card]  # by featherseg publish
    return sorted(published, key=lambda card: -scores(card)["miou"])


def scores(card: Card) -> Card:
    """The scores on the split that it was chosen by."""
    return next(iter(card["scores"].values()))


class Case(NamedTuple):
    """What a latency depends on."""

    network: str
    config: ModelConfig
    size: tuple[int, int]
    classes: int

    @classmethod
    def of(cls, network: str, fields: Mapping[str, Any], size: Sequence[int], classes: int) -> Case:
        """Of a network with some of its fields; with what it began plays no part."""
        rest = {name: value for name, value in fields.items() if name != "pretrained"}
        return cls(network, MODELS[network].of(rest), (size[0], size[1]), classes)


def latencies() -> dict[Case, Card]:
    """What was timed -> its row of the measurement; empty before the first one."""
    if not LATENCIES.is_file():
        return {}
    measured = json.loads(LATENCIES.read_text("utf-8"))
    rows = [(Candidate.parse(row["name"]), row) for row in measured["results"]]
    classes = measured["settings"]["num_classes"]
    return {Case.of(typed.what, typed.fields, row["size"], classes): row for typed, row in rows}


def case_of(card: Card) -> Case:
    """What the network of a card would be timed as."""
    fields = {name: value for name, value in card["model"].items() if name != "name"}
    return Case.of(card["model"]["name"], fields, card["input_size"], len(scores(card)["iou"]))


def time_of(card: Card, timed: dict[Case, Card]) -> float | None:
    """Milliseconds of one picture, end to end; None where its network was not measured so."""
    row = timed.get(case_of(card))
    return None if row is None else row["ms"]["total"]["p50"]


def columns() -> list[Column]:
    """The columns of every table."""
    timed = latencies()
    return [
        Column("network", lambda card: card["name"], lambda name: f"[{name}](../weights/{name}.md)"),
        Column("from", lambda card: MODELS[card["model"]["name"]].paper or "peer", str),
        Column("began with", began_with),
        Column("epochs", epochs_in_all),
        Column("parameters", lambda card: card["params"], lambda count: f"{count:,}", min),
        Column("GMACs", lambda card: card["macs"] / 1e9, lambda count: f"{count:.2f}", min),
        Column("file, MB", lambda card: card["bytes"], lambda size: "-" if size is None else f"{size / 1e6:.2f}", min),
        Column("CPU, ms", lambda card: time_of(card, timed), milliseconds, min),
        Column("val mIoU %", lambda card: scores(card)["miou"], lambda miou: f"{100 * miou:.2f}", max),
        Column("spread", lambda card: card, spread_text),
    ]


def began_with(card: Card) -> str:
    """What the first of its trainings began with."""
    first = trainings(card)[0]
    start = first.get("start") or first["model"].get("pretrained", "random")
    return "ImageNet" if "imagenet" in start else start.replace("none", "random")


def epochs_in_all(card: Card) -> int:
    """Epochs to the weights that are scored, over all of its trainings."""
    return sum(int(str(stage["epochs"]).split()[0]) for stage in trainings(card))


def trainings(card: Card) -> list[Card]:
    """The cards of the trainings that led to a network, the first one first."""
    stages = [card]
    while "started_from" in stages[0]:
        stages.insert(0, stages[0]["started_from"])
    return stages


def milliseconds(time: float | None) -> str:
    """A latency; "-" for none."""
    return "-" if time is None else f"{time:.0f}"


def spread_text(card: Card) -> str:
    """Mean ± deviation over seeds, or the interval over pictures."""
    seeds = card["seeds"]
    if seeds["std"] is not None:
        return f"{100 * seeds['mean']:.2f} ± {100 * seeds['std']:.2f} of {len(seeds['runs'])}"
    low, high = card["spread"]["interval"]
    return f"{100 * low:.1f} to {100 * high:.1f}"


def table_lines(cards: Sequence[Card], shown: Sequence[Column]) -> Iterator[str]:
    """A Markdown table; the best of each column in bold."""
    best = {}
    for column in shown:
        values = [value for card in cards if (value := column.value(card)) is not None]
        if column.best is not None and len(values) > 1:
            best[column.head] = column.best(values)
    yield f"| {' | '.join(column.head for column in shown)} |"
    yield "|---" * len(shown) + "|"
    for card in cards:
        cells = []
        for column in shown:
            value = column.value(card)
            text = column.text(value)
            cells.append(f"**{text}**" if column.head in best and value == best[column.head] else text)
        yield f"| {' | '.join(cells)} |"


TABLES = (
    Table(
        title="CamVid, one protocol for all",
        about="Every network under the very same training, `MODEL_zoo_camvid`: 40 epochs of CamVid's 367 training "
        "pictures, from ImageNet weights of the backbone where the column says so, crops of 256x320. "
        "It was tuned for none of them, and those without pretrained weights are far from converged after 40 epochs: "
        "of MobileNetV3, LR-ASPP's backbone, no ImageNet weights were at hand. smp_unet had eight epochs only, below. "
        "Rows whose command says `precision=bf16` were trained with products in bf16, the others in fp32; what that "
        "does to a score has not been measured over seeds.",
        belongs=lambda card: card["recipe"].endswith("_zoo_camvid") and not departures(card),
        shown_first=True,
    ),
    Table(
        title="CamVid, the same for eight epochs",
        about="For what takes long on two cores, to be compared with rows of this table alone: the same protocol with "
        "`epochs=8`, its schedule as much shorter. The averaged weights, which are scored, still lag behind then.",
        belongs=lambda card: card["recipe"].endswith("_zoo_camvid") and departures(card) == ["epochs=8"],
    ),
    Table(
        title="CamVid, trained otherwise",
        about="The same pictures, longer or in another way; the card tells of the training.",
        belongs=lambda card: card["data"]["format"] == "camvid",
        shown_first=True,
    ),
    Table(
        title="Seven classes of PASCAL VOC",
        about="background, cat, cow, dog, horse, person and sheep, every other class ignored; this is no VOC mIoU. "
        "Every network under the same training, `MODEL_zoo_voc7`, for as many epochs of 3,151 pictures as the row "
        "says; scored on 231 val pictures at about 320x320 pixels. The pictures are a part of VOC's augmented set, "
        "encoded anew, in a split of its own: on the whole of VOC the commands are another training. "
        "After one epoch caspp_deeplab has hardly begun to tell cows, and the peer leads; after four it is "
        "hybrid_fusion that leads, by less than the spread over the pictures, one seed each.",
        belongs=lambda card: card["data"]["format"].startswith("voc"),
    ),
)


SETTINGS = ("data.root", "seed", "val_every", "precision")
"""Keys that leave the protocol as it is; in what precision products are calculated stands in a row's command."""


def departures(card: Card) -> list[str]:
    """What of the command departs from the protocol, as loss=wcel: all but places, seed, network, and when to score."""
    words = shlex.split(card["command"] or "unknown=")
    keys = {word: word.partition("=")[0] for word in words if "=" in word}
    return [word for word, key in keys.items() if key not in SETTINGS and not key.startswith("model.")]


def page_lines(cards: Sequence[Card]) -> Iterator[str]:
    """docs/zoo.md."""
    yield from ("# The zoo", "")
    yield "Trained networks of the five papers beside what one would pick instead, measured in one way. Written by"
    yield "`python benchmarks/zoo.py` from the cards of the networks; a name leads to its card, which has every"
    yield "class, the settings, the machine, and pictures."
    yield ""
    yield "- val mIoU: of the file as shipped, on pictures that also chose the epoch; on unseen streets expect less, by"
    yield "  [20 points in one measurement](training.md#how-much-a-street-that-was-never-seen-costs). Of"
    yield "  networks whose weights are not shipped (file: -), of the network as trained, or as shipped before."
    yield "- spread: mean ± sample standard deviation of so many seeds, of which the best is the row; of one seed the"
    yield "  95 % bootstrap interval over the val pictures, which says nothing about another seed."
    yield "- began with: ImageNet is `mobilenet_v2_imagenet.safetensors`, of which"
    yield "  [training.md](training.md#imagenet-weights) tells; `model.pretrained=imagenet` takes timm's or"
    yield "  torchvision's published weights instead."
    yield "- epochs: passes over the training pictures up to the weights that are scored, in all trainings together."
    yield "- GMACs: multiply-accumulates at the size that the network sees a picture at, up to its classifier. The"
    yield "  exported file, which is what is timed, may need fewer, AFFNet's a third: a convolution behind an"
    yield "  enlargement is done before it."
    yield from bundled_lines()
    if LATENCIES.is_file():
        timed = json.loads(LATENCIES.read_text("utf-8"))
        row, machine = timed["results"][0], timed["machine"]
        yield "- CPU, ms: median time from a picture in memory, of the size that the network sees, to labels, in"
        yield f"  {row['backend']}, {row['precision']}, {row['threads']} threads, with random weights (labels"
        yield "  are made from scores as of a street), all in one interleaved run on"
        yield f"  {machine['cpu']}, commit {machine['commit']},"
        yield f"  load average before and after {machine['load_average']}:"
        yield f"  above {row['threads']} other work took a part of the cores, and the times are too long. A network"
        yield "  that was not timed at its size has none here."
        yield from ("", f"![mIoU on CamVid's val split against CPU time](../{PICTURE.relative_to(ROOT)})")
    left = list(cards)
    shown = columns()
    for table in TABLES:
        rows = [card for card in left if table.belongs(card)]
        left = [card for card in left if card not in rows]
        if rows:
            yield from ("", f"## {table.title}", "", table.about, "")
            yield from table_lines(rows, shown)
            yield from again_lines(rows)
    yield from ("", "Terms of the data bind what was learned from them: " + "; ".join(terms(cards)) + ".")


def bundled_lines() -> Iterator[str]:
    """What the package holds beside the checkpoints of the tables."""
    for path in sorted(BUNDLED.glob("*.onnx")):
        card = open_engine(path, device="cpu").artefact.card
        bias = " and ".join(f"{value:+g} on {name}'s" for name, value in card["export"]["bias"].items())
        size, precision = path.stat().st_size / 1e6, card["export"]["precision"]
        yield f"- in the package: `{path.stem}`, {size:.2f} MB of ONNX in {precision}, with {bias}"
        yield f"  scores: {100 * scores(card)['miou']:.2f} %. This is what runs under that name."


def again_lines(cards: Sequence[Card]) -> Iterator[str]:
    """The commands that repeat rows; where a network had several trainings, where those are told."""
    single = [f"{card['command']} out=runs/{card['name']}" for card in cards if "started_from" not in card]
    if single:
        yield from ("", "Each row again:" if len(cards) > 1 else "The row again:", "")
        yield from (f"    {command}" for command in single)
    for card in cards:
        if card["epochs_done"] < card["epochs_asked"]:
            yield from ("", f"{card['name']} was stopped after {card['epochs_done']} epochs.")
    for card in cards:
        if "started_from" in card:
            yield from ("", f"{card['name']} is the last of several trainings: its card tells of all of them,")
            yield "[training.md](training.md) has their commands."


def terms(cards: Sequence[Card]) -> list[str]:
    """The terms of every data set among the cards."""
    return sorted({f"{card['data']['format']}: {card['data']['terms']}" for card in cards})


def readme_lines(cards: Sequence[Card]) -> Iterator[str]:
    """The table in README.md: on CamVid, what is shipped, and what one would pick instead."""
    chosen = ("network", "from", "began with", "epochs", "parameters", "GMACs", "file, MB", "CPU, ms", "val mIoU %")
    shown = [column for column in columns() if column.head in chosen]
    rows = [card for card in first(cards) if card["bytes"] or not MODELS[card["model"]["name"]].paper]
    lines = table_lines(rows, shown)
    yield from (line.replace("](../weights/", "](weights/") for line in lines)


def first(cards: Sequence[Card]) -> list[Card]:
    """The networks that README and the picture show."""
    return [card for card in cards if next(table for table in TABLES if table.belongs(card)).shown_first]


def write_picture(cards: Sequence[Card]) -> None:
    """Accuracy against latency, of the networks of CamVid that were timed."""
    timed = latencies()
    write_chart(
        [
            {**timed[case_of(card)], "name": card["name"], "miou": scores(card)["miou"]}
            for card in first(cards)
            if case_of(card) in timed
        ],
        PICTURE,
    )


def write_page() -> None:
    """Write docs/zoo.md, and README.md between its marks; the picture where something was timed."""
    cards = read_cards()
    if LATENCIES.is_file():
        write_picture(cards)
    (ROOT / "docs" / "zoo.md").write_text("\n".join(page_lines(cards)) + "\n", "utf-8")
    readme = ROOT / "README.md"
    before, rest = readme.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text("\n".join([before + BEGIN, "", *readme_lines(cards), "", END + after]), "utf-8")


if __name__ == "__main__":
    write_page()
