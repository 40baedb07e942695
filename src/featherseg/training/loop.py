"""The loop, read from top to bottom: claim the directory, open the data, build, resume, then epoch after epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from featherseg.data.loading import Augmented, Batch, Loader, Order
from featherseg.metrics import Scores
from featherseg.models import create_model, without_pretrained
from featherseg.models.checkpoint import save_checkpoint
from featherseg.models.engine import Normalise
from featherseg.training import opening
from featherseg.training import state as states
from featherseg.training.allocator import freed_memory_kept
from featherseg.training.card import artefact_of
from featherseg.training.determinism import deterministic, tuned_convolutions
from featherseg.training.directory import (
    MetricsFile,
    Origin,
    alone_in,
    claim,
    diverged,
    placed,
    read_origin,
    recognise,
    refuse_changes,
    refuse_outrun,
)
from featherseg.training.distillation import Teacher
from featherseg.training.distributed import World, join, synchronise_norms
from featherseg.training.ema import EMA
from featherseg.training.fine_tuning import Start, start_from
from featherseg.training.memory import gather, put_back
from featherseg.training.objective import make_loss, objective, weigh_parts
from featherseg.training.peak import PeakMemory
from featherseg.training.phases import Phase, parameter_groups, phases_of, set_frozen
from featherseg.training.pictures import TensorBoard, draw_curves
from featherseg.training.progress import Reporter
from featherseg.training.run import OPTIMISERS, Run
from featherseg.training.schedules import Schedule
from featherseg.training.state import Progress, Saved
from featherseg.training.validation import scored

STATE_EVERY_SECONDS = 600.0
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def train(run: Run) -> Path:
    """Train, or resume, or say that the run is finished; returns the run directory, `out` or else runs/RECIPE.

    Errors: data, classes or fields that do not fit, and a directory that holds something else, are refused before
    anything is written.
    """
    run = placed(run)
    folder = recognise(run)
    saved = states.read_newest_state(folder)
    world = join(run.device)
    if saved is not None and (saved.progress.epoch >= run.epochs or saved.progress.stopped):
        early = " (stopped early)" if saved.progress.stopped else ""
        line = f"{folder}: finished, {saved.progress.epoch} epochs{early}, {saved.progress.best_text()}"
        reporter = Reporter(run, silent=not world.first)
        reporter.say(line)
        reporter.release()
        return folder
    with deterministic(run.deterministic), freed_memory_kept():
        Training(run, folder, saved, world).fit()
    return folder


class Training:
    """One run in memory: the network and everything that changes while it learns. Making one writes nothing."""

    def __init__(self, run: Run, folder: Path, saved: Saved | None, world: World | None = None) -> None:
        self.run, self.folder = run, folder
        self.world = world or join(run.device)
        self.reporter = Reporter(run, silent=not self.world.first)
        self.train_data, self.val_data = opening.open_both(run, self.reporter, fresh=saved is None)
        found = opening.marks(run, self.train_data, self.val_data)
        if saved is not None:
            refuse_changes(folder, found)
        torch.manual_seed(run.seed)
        classes = self.train_data.classes
        fields = without_pretrained(run.model.fields) if saved is not None else run.model.fields
        with self.reporter.listening():
            self.network = create_model(run.model.name, num_classes=len(classes), **fields)
        self.phases = phases_of(run)
        for phase in self.phases:
            opening.refuse_tiny_batches(run, self.network, phase, len(self.train_data), self.world)
            set_frozen(self.network, phase.frozen)
        self.origin = read_origin(folder) if saved is not None else self.begin(found)
        self.loss = make_loss(run, self.network, classes, self.origin.class_frequencies)
        self.layout = torch.channels_last if run.channels_last else torch.contiguous_format
        self.network.to(self.world.device, memory_format=self.layout)  # type: ignore[call-overload]
        if run.sync_bn and self.world.size > 1:
            synchronise_norms(self.network, self.world)
        self.forward = torch.compile(self.network, dynamic=False) if run.compile else self.network
        self.normalise = Normalise(run.preprocessing).to(self.world.device)
        groups = parameter_groups(self.network, run.encoder_lr)
        self.optimiser = OPTIMISERS[run.optim.name](groups, **run.optim.fields)
        self.precision = opening.usable_precision(run.precision, self.world.device, self.reporter)
        self.scaler = torch.amp.GradScaler(self.world.device.type, enabled=self.precision == "fp16")
        self.ema = EMA(self.network, run.ema) if run.ema else None
        self.teacher = None
        if run.distill.teacher:
            aligned = self.network.align_corners
            self.teacher = Teacher(run.distill, classes, align_corners=aligned, device=self.world.device)
        self.peak = PeakMemory(self.world.device)
        self.progress = Progress()
        if saved is not None:
            self.restore(saved)

    def begin(self, found: dict[str, str]) -> Origin:
        """What only a fresh run does: start from a checkpoint, count the classes."""
        run, data, start = self.run, self.train_data, Start([], {})
        if run.init:
            start = start_from(run.init, self.network, run.model, data.classes, run.preprocessing)
        for line in start.lines:
            self.reporter.say(line)
        return Origin(start.card, opening.count_classes(run, data, self.reporter), found)

    def fit(self) -> None:
        """Train from where the run stands to its end."""
        self.world.require_agreement("the step to go on from", self.progress.step)
        with alone_in(self.folder) if self.world.first else nullcontext():
            refuse_outrun(self.folder, self.progress.step)
            self.fit_phases()
            self.world.wait()

    def fit_phases(self) -> None:
        """Train every phase that is still to come."""
        if self.world.first:
            claim(self.folder, self.run, self.origin)
        self.world.wait()
        metrics = MetricsFile(self.folder, epochs_done=self.progress.epoch, writes=self.world.first)
        wanted = self.run.tensorboard and self.world.first
        board = TensorBoard(self.folder, wanted=wanted, epochs_done=self.progress.epoch)
        self.last_state = time.monotonic()
        with self.reporter:
            for phase in self.phases:
                if self.progress.epoch < phase.end and not self.progress.stopped:
                    self.fit_phase(phase, metrics, board)
        board.close()
        early = ", stopped early" if self.progress.stopped else ""
        self.reporter.say(f"{self.folder}: done{early}, {self.progress.best_text()}")

    def fit_phase(self, phase: Phase, metrics: MetricsFile, board: TensorBoard) -> None:
        """Train the epochs of one phase that are still to come."""
        set_frozen(self.network, phase.frozen)
        if phase.frozen or phase.first:
            self.reporter.say(f"the encoder is {'frozen' if phase.frozen else 'thawed'}")
        part = opening.part_size(self.run, phase.batch_size, self.world)
        order = Order(
            len(self.train_data),
            batch_size=phase.batch_size,
            seed=self.run.seed,
            part=part,
            rank=self.world.rank,
            world=self.world.size,
        )
        dataset = Augmented(self.train_data, self.run.augment, seed=self.run.seed)
        loader = Loader(dataset, order, workers=self.run.workers)
        schedule = phase.schedule(self.run, order.batches)
        for epoch in range(self.progress.epoch, phase.end):
            order.start(epoch, self.progress.batch)
            told = self.peak.bytes is not None
            with self.peak.watched(), tuned_convolutions(not self.run.deterministic):
                self.fit_epoch(epoch, phase, order, loader, schedule)
            if not told and self.peak.text():
                self.reporter.say(self.peak.text())
            rate = schedule(phase.place(self.run, epoch, order.batches - 1, order.batches))
            scores = self.validate(epoch, counts=not phase.frozen)
            mean_loss = self.progress.loss_sum / order.batches
            self.progress = replace(self.progress, epoch=epoch + 1, batch=0, loss_sum=0.0)
            metrics.add(self.progress, rate, mean_loss, scores)
            if self.world.first:
                draw_curves(self.folder, metrics.rows)
                board.add(metrics.rows[-1])
                self.save_checkpoint("last.safetensors", scores)
                self.save_state()
            self.reporter.epoch_done(metrics.rows[-1])
            if self.progress.stopped:
                return

    def fit_epoch(self, epoch: int, phase: Phase, order: Order, loader: Loader, schedule: Schedule) -> None:
        """Train one epoch, from the batch that comes next."""
        began, before = time.monotonic(), self.progress.seconds
        batches = order.grouped(loader)
        for parts in self.reporter.batches(epoch, order.batches, self.progress.batch, batches):
            rate = schedule(phase.place(self.run, epoch, self.progress.batch, order.batches))
            loss = self.step(parts, rate)
            self.progress = replace(
                self.progress,
                step=self.progress.step + 1,
                batch=self.progress.batch + 1,
                loss_sum=self.progress.loss_sum + loss,
                seconds=before + time.monotonic() - began,
            )
            if self.world.first and time.monotonic() - self.last_state > STATE_EVERY_SECONDS:
                self.save_state()

    def step(self, parts: Sequence[Batch], rate: float) -> float:
        """One optimiser step over the parts of a batch at this learning rate; returns the loss of the whole batch.

        What is random in a network is drawn anew from (seed, step, process), so a resumed run draws the same.
        """
        torch.manual_seed(((self.run.seed * 1_000_003 + self.progress.step) * 1009 + self.world.rank) % 2**63)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        device, run = self.world.device, self.run
        targets = [part.target.to(device, non_blocking=True) for part in parts]
        normaliser, shares = weigh_parts(self.loss, targets, self.world)
        total = torch.zeros((), device=device)
        for part, target, share in zip(parts, targets, shares, strict=True):
            pictures = part.images.to(device, non_blocking=True)
            images = self.normalise(pictures).contiguous(memory_format=self.layout)
            with torch.autocast(device.type, AUTOCAST[self.precision], enabled=self.precision != "fp32"):
                output = self.forward(images)
                taught = self.teacher.loss(output.logits, pictures) if self.teacher is not None else 0.0
            loss = objective(
                output,
                target,
                self.loss,
                aux_weight=run.aux_weight,
                align_corners=self.network.align_corners,
                normaliser=normaliser,
                share=share,
            )
            loss = loss + taught / (len(parts) * self.world.size)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.world.sum_gradients(self.network.parameters())
        total = self.world.total(total)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.network)
        value = float(total)  # a GPU is waited for here, once it has all of the step to do
        if not math.isfinite(value):
            raise diverged(f"the loss is {value} at step {self.progress.step}", self.run, self.folder)
        return value

    def validate(self, epoch: int, *, counts: bool) -> Scores | None:
        """Score the deployable weights on the val split, and keep them as best where they are; None between turns.

        Where it `counts`, one without a new best brings the early end nearer.
        """
        last = epoch + 1 == self.run.epochs
        if (epoch + 1) % self.run.val_every and not last:
            return None
        scores, samples = scored(self)
        if scores.miou > self.progress.best_miou:
            self.progress = replace(self.progress, best_miou=scores.miou, best_epoch=epoch + 1, waited=0)
            self.save_checkpoint("best.safetensors", scores, epochs_done=epoch + 1)
        else:
            waited = self.progress.waited + counts
            self.progress = replace(self.progress, waited=waited, stopped=0 < self.run.patience <= waited)
        if self.world.first:
            samples.save(self.folder / "samples.png")
        return scores

    def weights(self) -> dict[str, Tensor]:
        """What is deployed: the averaged weights where they are kept, else the network's."""
        return self.ema.weights if self.ema is not None else self.network.state_dict()

    def save_checkpoint(self, name: str, scores: Scores | None, *, epochs_done: int | None = None) -> None:
        """Write a deployable copy with its card."""
        if not self.world.first:
            return
        done = self.progress.epoch if epochs_done is None else epochs_done
        artefact = artefact_of(self, scores, epochs_done=done)
        save_checkpoint(self.folder / name, self.weights(), self.run.model.to_json(), artefact)

    def save_state(self) -> None:
        """Write everything that resuming needs."""
        tensors = gather(self.network, self.optimiser, self.scaler, self.ema)
        states.write_state(self.folder, self.progress, tensors)
        self.last_state = time.monotonic()

    def restore(self, saved: Saved) -> None:
        """Take up a saved state, and say so."""
        for line in saved.complaints:
            self.reporter.say(line)
        self.progress = saved.progress
        put_back(saved.tensors, self.network, self.optimiser, self.scaler, self.ema)
        self.reporter.say(f"{self.folder}: resuming from step {self.progress.step} (epoch {self.progress.epoch + 1})")
