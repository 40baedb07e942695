"""The loop, read from top to bottom: claim the directory, open the data, build, resume, then epoch after epoch."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featherseg.data import SegData, open_data
from featherseg.data.loading import Augmented, Loader, Order
from featherseg.evaluation import evaluate
from featherseg.metrics import Scores
from featherseg.models import SegNetwork, create_model
from featherseg.models.checkpoint import save_checkpoint
from featherseg.models.engine import Normalise, TorchEngine, choose_device
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.predictor import Predictor
from featherseg.training import state as states
from featherseg.training.directory import MetricsFile, claim, draw_curves, machine, recognise
from featherseg.training.ema import EMA
from featherseg.training.fine_tuning import Start, start_from
from featherseg.training.objective import make_loss, objective
from featherseg.training.progress import Reporter
from featherseg.training.run import OPTIMISERS, Run
from featherseg.training.schedules import SCHEDULES, Schedule
from featherseg.training.state import Progress, Saved

STATE_EVERY_SECONDS = 600.0


def train(run: Run) -> Path:
    """Train, or resume, or say that the run is finished; returns the run directory.

    Errors: data, classes or fields that do not fit, and a directory that holds something else, are refused before
    anything is written.
    """
    folder = recognise(run)
    saved = states.read_newest_state(folder)
    if saved is not None and saved.progress.epoch >= run.epochs:
        Reporter(run).say(f"{folder}: finished, {run.epochs} epochs, {best_text(saved.progress)}")
        return folder
    Training(run, folder, saved).fit()
    return folder


class Training:
    """One run in memory: the network and everything that changes while it learns. Making one writes nothing."""

    def __init__(self, run: Run, folder: Path, saved: Saved | None) -> None:
        self.run, self.folder = run, folder
        self.train_data, self.val_data = open_both(run)
        self.device = choose_device(run.device)
        torch.manual_seed(run.seed)
        torch.use_deterministic_algorithms(run.deterministic)
        classes = self.train_data.classes
        self.network = create_model(run.model.name, num_classes=len(classes), **run.model.fields)
        refuse_tiny_batches(run, self.network, len(self.train_data))
        self.order = Order(len(self.train_data), batch_size=run.batch_size, seed=run.seed)
        self.schedule = make_schedule(run, steps_per_epoch=self.order.batches)
        self.loss = make_loss(run, self.train_data)
        self.reporter = Reporter(run)
        self.start = start_from(run.init, self.network, run.model, classes) if run.init else Start([], {})
        layout = torch.channels_last if run.channels_last else torch.contiguous_format
        self.network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.normalise = Normalise(run.preprocessing).to(self.device)
        self.optimiser = OPTIMISERS[run.optim.name](self.network.parameters(), **run.optim.fields)
        self.ema = EMA(self.network, run.ema) if run.ema else None
        self.progress = Progress()
        if saved is not None:
            self.restore(saved)
        else:
            for line in self.start.lines:
                self.reporter.say(line)

    def fit(self) -> None:
        """Train from where the run stands to its end."""
        claim(self.folder, self.run)
        metrics = MetricsFile(self.folder, epochs_done=self.progress.epoch)
        dataset = Augmented(self.train_data, self.run.augment, seed=self.run.seed)
        loader = Loader(dataset, self.order, workers=self.run.workers)
        last_state = time.monotonic()
        with self.reporter:
            for epoch in range(self.progress.epoch, self.run.epochs):
                began, before = time.monotonic(), self.progress.seconds
                self.order.start(epoch, self.progress.batch)
                for images, target in self.reporter.batches(epoch, self.order.batches, self.progress.batch, loader):
                    loss = self.step(images, target)
                    self.progress = replace(
                        self.progress,
                        step=self.progress.step + 1,
                        batch=self.progress.batch + 1,
                        loss_sum=self.progress.loss_sum + loss,
                        seconds=before + time.monotonic() - began,
                    )
                    if time.monotonic() - last_state > STATE_EVERY_SECONDS:
                        self.save_state()
                        last_state = time.monotonic()
                scores = self.validate(epoch)
                mean_loss = self.progress.loss_sum / self.order.batches
                self.progress = replace(self.progress, epoch=epoch + 1, batch=0, loss_sum=0.0)
                metrics.add(**row(self.progress, self.schedule, mean_loss, scores))
                draw_curves(self.folder, metrics.rows)
                self.save_checkpoint("last.safetensors", scores)
                self.save_state()
                last_state = time.monotonic()
                self.reporter.epoch_done(metrics.rows[-1])
        self.reporter.say(f"{self.folder}: done, {best_text(self.progress)}")

    def step(self, images: Tensor, target: Tensor) -> float:
        """One optimiser step; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule(self.progress.step)
        self.network.train()
        layout = torch.channels_last if self.run.channels_last else torch.contiguous_format
        images = self.normalise(images.to(self.device, non_blocking=True)).contiguous(memory_format=layout)
        target = target.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16"):
            output = self.network(images)
        loss = objective(
            output, target, self.loss, aux_weight=self.run.aux_weight, align_corners=self.network.align_corners
        )
        if not torch.isfinite(loss):
            raise FeathersegError(
                f"the loss is {float(loss)} at step {self.progress.step}",
                remedy="lower optim.lr, or use precision=fp32; the run resumes from its last state",
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if self.ema is not None:
            self.ema.update(self.network)
        return float(loss.detach())

    def validate(self, epoch: int) -> Scores | None:
        """Score the deployable weights on the val split, and keep them as best where they are; None between turns."""
        last = epoch + 1 == self.run.epochs
        if (epoch + 1) % self.run.val_every and not last:
            return None
        artefact = self.artefact(None)
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.weights())
        engine = TorchEngine(network, artefact, device=self.device)
        scores = evaluate(Predictor(engine, artefact), self.val_data, progress=self.reporter.validating)
        if math.isnan(scores.miou):
            raise FeathersegError(f"{self.val_data.root}: no pixel of the {self.val_data.split} split has a class")
        if scores.miou > self.progress.best_miou:
            self.progress = replace(self.progress, best_miou=scores.miou, best_epoch=epoch + 1)
            self.save_checkpoint("best.safetensors", scores, epochs_done=epoch + 1)
        return scores

    def weights(self) -> dict[str, Tensor]:
        """What is deployed: the averaged weights where they are kept, else the network's."""
        return self.ema.weights if self.ema is not None else self.network.state_dict()

    def artefact(self, scores: Scores | None, *, epochs_done: int = 0) -> Artefact:
        """What the trained network says of itself."""
        card: dict[str, Any] = {
            "name": self.folder.name,
            "recipe": self.run.recipe,
            "model": self.run.model.to_json(),
            "data": {
                "format": self.train_data.name,
                "train": f"{self.train_data.split}, {len(self.train_data)} pictures",
                "val": f"{self.val_data.split}, {len(self.val_data)} pictures",
                "root": self.run.data.root,
                "val_split": self.run.data.val,
                "terms": self.train_data.terms,
            },
            "seed": self.run.seed,
            "epochs": f"{epochs_done} of {self.run.epochs}",
            "run": self.run.to_json(),
            "machine": machine(),
            "training_seconds": round(self.progress.seconds),
            "scores": {"val": scores.to_json()} if scores is not None else {},
            **({"started_from": self.start.card} if self.start.card else {}),
        }
        return Artefact(
            classes=self.train_data.classes,
            preprocessing=self.run.preprocessing,
            input_rule=self.run.input_rule,
            align_corners=self.network.align_corners,
            stride=self.network.stride,
            card=card,
        )

    def save_checkpoint(self, name: str, scores: Scores | None, *, epochs_done: int | None = None) -> None:
        """Write a deployable copy with its card."""
        done = self.progress.epoch if epochs_done is None else epochs_done
        artefact = self.artefact(scores, epochs_done=done)
        save_checkpoint(self.folder / name, self.weights(), self.run.model.to_json(), artefact)

    def save_state(self) -> None:
        """Write everything that resuming needs."""
        groups = {
            "model": self.network.state_dict(),
            "optimiser": states.optimiser_tensors(self.optimiser),
            "random": states.random_tensors(),
        }
        if self.ema is not None:
            groups["ema"] = {**self.ema.weights, "updates": torch.tensor(self.ema.updates)}
        states.write_state(self.folder, self.progress, states.pack(groups))

    def restore(self, saved: Saved) -> None:
        """Take up a saved state, and say so."""
        for line in saved.complaints:
            self.reporter.say(line)
        self.progress = saved.progress
        self.network.load_state_dict(states.unpack(saved.tensors, "model"))
        states.restore_optimiser(self.optimiser, states.unpack(saved.tensors, "optimiser"))
        states.restore_random(states.unpack(saved.tensors, "random"))
        if self.ema is not None:
            averages = states.unpack(saved.tensors, "ema")
            self.ema.updates = int(averages.pop("updates"))
            for name, value in averages.items():
                self.ema.weights[name].copy_(value)
        self.reporter.say(f"{self.folder}: resuming from step {self.progress.step} (epoch {self.progress.epoch + 1})")


def best_text(progress: Progress) -> str:
    """The best score and its epoch for a message."""
    return f"best val mIoU {100 * progress.best_miou:.2f} % (epoch {progress.best_epoch})"


def open_both(run: Run) -> tuple[SegData, SegData]:
    """The training and validation splits; kept in memory, and so checked whole, where the run says so."""
    train_data, val_data = (
        open_data(run.data.root, run.data.format, split) for split in (run.data.train, run.data.val)
    )
    if train_data.pairs == val_data.pairs:
        raise FeathersegError(
            f"{run.data.root}: the {run.data.train} and {run.data.val} splits are the same pictures",
            expected="a score on pictures that were not learned from",
            remedy=f"put some of them into a split of their own, as images/{run.data.val} and masks/{run.data.val}",
        )
    if run.data.cache:
        train_data, val_data = train_data.in_memory(), val_data.in_memory()
    return train_data, val_data


def make_schedule(run: Run, *, steps_per_epoch: int) -> Schedule:
    """The run's schedule over all its steps."""
    return SCHEDULES[run.schedule.name](
        lr=float(run.optim.fields["lr"]),
        steps=run.epochs * steps_per_epoch,
        warmup_steps=round(run.warmup_epochs * steps_per_epoch),
        **run.schedule.fields,
    )


def refuse_tiny_batches(run: Run, network: SegNetwork, pictures: int) -> None:
    """Refuse what cannot train: fewer pictures than a batch, or one picture a batch where a 1x1 map is normalised."""
    if pictures < run.batch_size:
        raise FeathersegError(
            "batch_size", expected=f"at most the training split's {pictures} pictures", got=run.batch_size
        )
    if network.has_image_pooling and run.batch_size < 2:
        raise FeathersegError(
            f"batch_size: {run.model.name} normalises a 1x1 map, which needs two pictures",
            expected="2 or more",
            got=run.batch_size,
        )


def row(progress: Progress, schedule: Schedule, loss: float, scores: Scores | None) -> dict[str, Any]:
    """The row of metrics.csv for the epoch just done."""
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        "lr": schedule(progress.step - 1),
        "loss": loss,
        "val_miou": scores.miou if scores else None,
        "val_pixel_accuracy": scores.pixel_accuracy if scores else None,
        "val_class_accuracy": scores.class_accuracy if scores else None,
        "val_fwiou": scores.fwiou if scores else None,
        "seconds": progress.seconds,
    }
