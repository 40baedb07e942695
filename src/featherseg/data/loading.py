"""Batches whose content depends on (seed, epoch, index) alone, never on workers, so that resuming repeats them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from featherseg.data.augment import Augment
from featherseg.data.samples import Sample, SegData

Key = tuple[int, int]  # epoch, index of the sample


class Batch(NamedTuple):
    """Images uint8 (N,3,H,W), target uint8 (N,H,W)."""

    images: Tensor
    target: Tensor


class Augmented(Dataset[Batch]):
    """Sample (epoch, index) of the data, augmented by the generator of (seed, epoch, index)."""

    def __init__(self, data: SegData, augment: Augment, *, seed: int, cache: bool) -> None:
        self.data = data
        self.augment = augment
        self.seed = seed
        # Decoded once, before the workers are forked, so that they share the memory.
        self.decoded: list[Sample] = [data.read(index) for index in range(len(data))] if cache else []

    def __getitem__(self, key: Key) -> Batch:
        """The sample as a batch of one without the batch dimension."""
        epoch, index = key
        sample = self.decoded[index] if self.decoded else self.data.read(index)
        rng = np.random.default_rng((self.seed, epoch, index))
        image, mask = self.augment(sample.image, sample.mask, rng, ignore_index=self.data.classes.ignore_index)
        return Batch(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask))


class Order(Sampler[list[Key]]):
    """The batches of one epoch after the other, shuffled by (seed, epoch); the last incomplete batch is dropped."""

    def __init__(self, length: int, *, batch_size: int, seed: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.first_batch = 0

    @property
    def batches(self) -> int:
        """Batches in a whole epoch."""
        return self.length // self.batch_size

    def start(self, epoch: int, first_batch: int) -> None:
        """The next iteration gives this epoch, from this batch on."""
        self.epoch, self.first_batch = epoch, first_batch

    def __iter__(self) -> Iterator[list[Key]]:
        """Lists of (epoch, index)."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        for batch in range(self.first_batch, self.batches):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, int(index)) for index in chosen]

    def __len__(self) -> int:
        return self.batches - self.first_batch


def make_loader(dataset: Augmented, order: Order, *, workers: int) -> DataLoader[Batch]:
    """A loader over `order`; workers live on from epoch to epoch."""
    return DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each new iterator would draw from the generator that dropout draws from
    )
