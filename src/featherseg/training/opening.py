"""What a run needs before its first step: its data, and the refusal of what cannot train."""

from __future__ import annotations

import hashlib

import torch

from featherseg.data import SegData, class_frequencies, open_data
from featherseg.data.leaks import refuse_leaks
from featherseg.hub import locate
from featherseg.losses import absent_classes
from featherseg.models import SegNetwork
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import CELL
from featherseg.training.distributed import World
from featherseg.training.objective import wants_frequencies
from featherseg.training.phases import Phase
from featherseg.training.progress import Reporter
from featherseg.training.run import Run


def open_both(run: Run, reporter: Reporter, *, fresh: bool) -> tuple[SegData, SegData]:
    """The training and validation splits; kept in memory, and so checked whole, where the run says so.

    A picture that lies in both is refused; of pictures that are not kept in memory only a fresh run reads them all to
    find out.
    """
    train_data, val_data = (
        open_data(run.data.root, run.data.format, split, classes=run.data.classes)
        for split in (run.data.train, run.data.val)
    )
    if train_data.pairs == val_data.pairs:
        raise FeathersegError(
            f"{run.data.root}: the {run.data.train} and {run.data.val} splits are the same pictures",
            expected="a score on pictures that were not learned from",
            remedy=f"put some of them into a split of their own, as images/{run.data.val} and masks/{run.data.val}",
        )
    if run.data.cache:
        with reporter.task("read train") as progress:
            train_data = train_data.in_memory(progress)
        with reporter.task("read val") as progress:
            val_data = val_data.in_memory(progress)
    if fresh or run.data.cache:
        with reporter.task("look for leaks") as progress:
            doubtful = refuse_leaks(train_data, val_data, progress)
        if doubtful:
            more = f", and {len(doubtful) - 1} more like it" if len(doubtful) > 1 else ""
            reporter.say(f"{doubtful[0].file}: {doubtful[0].detail}{more}: their score flatters the network")
    refuse_unlabelled(run, train_data, val_data)
    refuse_wrong_padding(run, train_data.classes)
    reporter.say(
        f"data: {train_data.name} in {run.data.root}, {len(train_data)} pictures to learn from ({train_data.split}), "
        f"{len(val_data)} to choose on ({val_data.split}), {len(train_data.classes)} classes"
    )
    return train_data, val_data


def marks(run: Run, train_data: SegData, val_data: SegData) -> dict[str, str]:
    """Classes, pictures and teacher in words that differ where these do; of pictures the names count."""
    classes = train_data.classes
    found = {"the classes": f"{', '.join(classes.names)}; ignored {classes.ignore_index}"}
    for data in (train_data, val_data):
        names = "\n".join(data.name_of(index) for index in range(len(data)))
        found[f"the {data.split} split"] = f"{len(data)} pictures, names {digest(names.encode())}"
    if run.distill.teacher:
        found["the teacher"] = digest(locate(run.distill.teacher, "torch").read_bytes())
    return found


def digest(content: bytes) -> str:
    """The beginning of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def refuse_unlabelled(run: Run, train_data: SegData, val_data: SegData) -> None:
    """Refuse to choose without labels, and to learn without labels or a teacher."""
    for data, needed in ((val_data, True), (train_data, not run.distill.teacher)):
        if needed and not has_labels(data):
            raise FeathersegError(
                f"{data.root}: no pixel of the {data.split} split has a class", expected="labelled masks"
            )


def has_labels(data: SegData) -> bool:
    """Whether any pixel has a class; reads masks up to the first that has."""
    whole = data.without_windows()
    return any(bool((whole.labels(index) < len(data.classes)).any()) for index in range(len(whole)))


def refuse_wrong_padding(run: Run, classes: Classes) -> None:
    """Refuse to train what lies outside a picture as a class that is no background."""
    label = run.augment.pad_label
    if label >= 0 and (label >= len(classes) or classes.names[label] != "background"):
        meant = classes.names[label] if label < len(classes) else "no class"
        raise FeathersegError(
            f"augment.pad_label={label}, what lies outside a picture, is {meant} here",
            expected="background, or -1 to ignore it",
            remedy="set augment.pad_label=-1",
        )


def count_classes(run: Run, data: SegData, reporter: Reporter) -> tuple[float, ...]:
    """The classes' shares of the labelled pixels; empty where nobody asks and counting would take a pass over files.

    Empty, too, where nobody asks and a teacher alone is learned from.
    """
    if not run.data.cache and not wants_frequencies(run):
        return ()
    if not (wants_frequencies(run) or has_labels(data)):
        return ()
    with reporter.task("count classes") as progress:
        frequencies = class_frequencies(data, progress)
    absent = absent_classes(frequencies, data.classes.names)
    if absent:
        reporter.say(f"no pixel of the {data.split} split is {', '.join(absent)}: nothing can be learned of them")
    return frequencies


def part_size(run: Run, batch_size: int, world: World) -> int:
    """Pictures that one process takes at a time; a batch that does not come out even is refused."""
    parts = run.accumulate * world.size
    if batch_size % parts:
        raise FeathersegError(
            "batch_size" if batch_size == run.batch_size else "freeze.batch_size",
            expected=f"a multiple of {parts}, for accumulate={run.accumulate} and {world.size} process(es)",
            got=batch_size,
        )
    return batch_size // parts


def refuse_tiny_batches(run: Run, network: SegNetwork, phase: Phase, pictures: int, world: World) -> None:
    """Refuse what cannot train: fewer pictures than a batch, or one picture a part where a 1x1 map is normalised."""
    name = "batch_size" if phase.batch_size == run.batch_size else "freeze.batch_size"
    if pictures < phase.batch_size:
        raise FeathersegError(name, expected=f"at most the training split's {pictures} pictures", got=phase.batch_size)
    together = part_size(run, phase.batch_size, world) * (world.size if run.sync_bn else 1)
    if (network.has_image_pooling or max(run.augment.crop_size) <= CELL) and together < 2:
        raise FeathersegError(
            f"{name}: {run.model.name} normalises a 1x1 map, which needs two pictures",
            expected=f"{2 * phase.batch_size} or more, or a smaller accumulate",
            got=phase.batch_size,
        )


def usable_precision(asked: str, device: torch.device, reporter: Reporter) -> str:
    """The precision to compute in: half precision gains nothing on a CPU, so there it is single."""
    if asked == "fp16" and device.type == "cpu":
        reporter.say("precision=fp16 is for GPUs: computing in fp32 on this CPU")
        return "fp32"
    return asked
