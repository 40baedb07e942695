"""What a run shows: curves.png over the epochs, samples.png of its newest validation, and TensorBoard's log."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.report import panel_of
from featherseg.evaluation.sheet import spread
from featherseg.runtime.classes import Classes
from featherseg.runtime.pixels import write_atomically

SAMPLE_WIDTH = 1440  # of a row of photo, truth and prediction


class Samples:
    """Keeps some pictures of a validation as rows of photo, truth and prediction; handed to `evaluate` as observer.

    Args:
        count: how many, spread evenly.
        pictures: how many the validation has.
        classes: their colours.
    """

    def __init__(self, count: int, pictures: int, classes: Classes) -> None:
        self.chosen = frozenset(spread(pictures, count))
        self.classes = classes
        self.seen = 0
        self.rows: list[Image.Image] = []

    def __call__(self, judged: Judged) -> None:
        """Keep the picture if it is one of the chosen."""
        if self.seen in self.chosen:
            row = panel_of(judged, self.classes)
            self.rows.append(row.resize((SAMPLE_WIDTH, max(1, row.height * SAMPLE_WIDTH // row.width))))
        self.seen += 1

    def save(self, path: Path) -> None:
        """Write the rows one below the other."""
        if self.rows:
            sheet = Image.fromarray(np.vstack([np.asarray(row) for row in self.rows]))
            write_atomically(path, lambda file: sheet.save(file, "PNG"))


def draw_curves(folder: Path, rows: list[dict[str, str]]) -> None:
    """curves.png: the loss and the validation mIoU over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    right = left.twinx()
    left.plot([int(row["epoch"]) for row in rows], [float(row["loss"]) for row in rows], color="tab:gray", label="loss")
    scored = [row for row in rows if row["val_miou"]]
    right.plot(
        [int(row["epoch"]) for row in scored],
        [100 * float(row["val_miou"]) for row in scored],
        color="tab:blue",
        marker=".",
        label="val mIoU",
    )
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(ylabel="val mIoU / %")
    figure.legend(loc="outside upper center", ncols=2)
    write_atomically(folder / "curves.png", lambda file: figure.savefig(file, format="png", dpi=110))


class TensorBoard:
    """Writes the rows of metrics.csv for TensorBoard; does nothing where it is not wanted or not installed.

    Args:
        folder: the run directory; the log goes to its folder tensorboard.
        wanted: whether to write at all.
        epochs_done: a resumed run's log is cut back to these.
    """

    def __init__(self, folder: Path, *, wanted: bool, epochs_done: int) -> None:
        self.writer: Any = None
        if wanted and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done + 1)

    def add(self, row: dict[str, str]) -> None:
        """One epoch's numbers."""
        if self.writer is None:
            return
        for name, value in row.items():
            if value and name not in ("epoch", "step"):
                self.writer.add_scalar(name.replace("val_", "val/"), float(value), int(row["epoch"]))
        self.writer.flush()

    def close(self) -> None:
        """The end of the log."""
        if self.writer is not None:
            self.writer.close()
