"""Batches whose content depends on (seed, epoch, index) alone, never on workers, so that resuming repeats them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from featherseg.data.augment import Augment
from featherseg.data.samples import SegData
from featherseg.runtime.errors import FeathersegError

Key = tuple[int, int]  # epoch, index of the sample


class Batch(NamedTuple):
    """Images uint8 (N,3,H,W), channels last in memory as decoders give them; target uint8 (N,H,W)."""

    images: Tensor
    target: Tensor


class Augmented(Dataset[Batch | FeathersegError]):
    """Sample (epoch, index) of the data, augmented by the generator of (seed, epoch, index)."""

    def __init__(self, data: SegData, augment: Augment, *, seed: int) -> None:
        self.data = data
        self.augment = augment
        self.seed = seed

    def __getitem__(self, key: Key) -> Batch | FeathersegError:
        """The sample without a batch dimension; a picture that cannot be read is handed on as its error."""
        epoch, index = key
        try:
            sample = self.data.read(index)
        except FeathersegError as error:
            return error
        rng = np.random.default_rng((self.seed, epoch, index + 1))  # 0 is the order's
        image, mask = self.augment(sample.image, sample.mask, rng, ignore_index=self.data.classes.ignore_index)
        return Batch(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask))


class Order(Sampler[list[Key]]):
    """The batches of one epoch after the other, shuffled by (seed, epoch); the last incomplete batch is dropped.

    A batch may be shared by several processes, and taken in several parts: iterating gives this process' parts. The
    pictures of a batch are the same however it is shared out.

    Args:
        length: pictures in all.
        batch_size: pictures in a batch.
        seed: of the order.
        part: pictures in a part; 0 for the whole batch.
        rank: this process' number.
        world: how many processes share each batch.
    """

    def __init__(
        self, length: int, *, batch_size: int, seed: int, part: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.part = part or batch_size
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.first_batch = 0

    @property
    def batches(self) -> int:
        """Batches in a whole epoch."""
        return self.length // self.batch_size

    @property
    def parts(self) -> int:
        """Parts of a batch that fall to this process."""
        return self.batch_size // (self.part * self.world)

    def start(self, epoch: int, first_batch: int) -> None:
        """The next iteration gives this epoch, from this batch on."""
        self.epoch, self.first_batch = epoch, first_batch

    def __iter__(self) -> Iterator[list[Key]]:
        """Lists of (epoch, index)."""
        order = np.random.default_rng((self.seed, self.epoch, 0)).permutation(self.length)
        for batch in range(self.first_batch, self.batches):
            for part in range(self.rank * self.parts, (self.rank + 1) * self.parts):
                first = batch * self.batch_size + part * self.part
                yield [(self.epoch, int(index)) for index in order[first : first + self.part]]

    def __len__(self) -> int:
        return (self.batches - self.first_batch) * self.parts

    def grouped(self, loader: Iterable[Batch]) -> Iterator[list[Batch]]:
        """A loader's parts, batch by batch."""
        parts = iter(loader)
        while group := list(islice(parts, self.parts)):
            yield group


class Loader:
    """Batches over an order, prepared by worker processes that live on from epoch to epoch.

    Args:
        dataset: gives the samples; what it keeps in memory is shared with the workers where processes are forked.
        order: which samples, in which batches.
        workers: processes; 0 prepares in this one.
    """

    def __init__(self, dataset: Augmented, order: Order, *, workers: int) -> None:
        self.loader = DataLoader(
            dataset,
            batch_sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate,
            generator=torch.Generator(),  # else each iterator would draw from the generator that dropout draws from
        )

    def __iter__(self) -> Iterator[Batch]:
        """The batches; an error met by a worker is raised here, as it was."""
        for batch in self.loader:
            if isinstance(batch, FeathersegError):
                raise batch
            yield batch


def collate(items: list[Batch | FeathersegError]) -> Batch | FeathersegError:
    """Samples as one batch, or the first error among them."""
    samples = []
    for item in items:
        if isinstance(item, FeathersegError):
            return item
        samples.append(
            Batch(item.images.permute(1, 2, 0), item.target)
        )  # as they lie in memory, which is quick to join
    rows = default_collate(samples)
    return Batch(rows.images.permute(0, 3, 1, 2), rows.target)
