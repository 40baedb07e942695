"""Predictions in the files that the test servers take.

cityscapes   OUT/CITY_000000_000019_pred_labelIds.png, gray label ids, and OUT/cityscapes.zip of them
             https://www.cityscapes-dataset.com/submit
voc          OUT/results/VOC2012/Segmentation/comp6_test_cls/NAME.png, palette, and OUT/results.tar.gz of them
             http://host.robots.ox.ac.uk:8080 (comp6: trained on any data; comp5 takes VOC's own alone)
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from featherseg.data import cityscapes, voc
from featherseg.data.masks import Mask
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import save_mask, write_atomically

FRAME_NAME = re.compile(r"[A-Za-z-]+_\d{6}_\d{6}")
VOC_FOLDER = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What a test server takes.

    Attributes:
        title: whose server.
        classes: the classes that it scores, in the order of the train ids.
        archive: the name of the file to upload, in the folder of results.
        name: a picture -> where its result lies in the folder of results.
        encode: (mask of train ids, path) writes the result.
        pack: (paths within the folder, the folder, open file) writes the archive.
    """

    title: str
    classes: Classes
    archive: str
    name: Callable[[Path], Path]
    encode: Callable[[Mask, Path], None]
    pack: Callable[[Sequence[Path], Path, BinaryIO], None]

    def require(self, classes: Classes, model: str) -> None:
        """Refuse a network that knows other classes, or the same in another order."""
        if classes.names != self.classes.names:
            raise FeathersegError(
                f"{model}: its classes are not those of {self.title}",
                expected=", ".join(self.classes.names),
                got=", ".join(classes.names),
                remedy="choose a network trained on them",
            )

    def write(self, mask: Mask, path: Path) -> None:
        """One picture's result; a server knows no ignored pixels, so there may be none."""
        if mask.max() >= len(self.classes):
            raise FeathersegError(
                f"{path}: the result", expected=f"ids 0..{len(self.classes) - 1}", got=int(mask.max())
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.encode(mask, path)

    def finish(self, paths: Sequence[Path], out: Path) -> Path:
        """Pack the written results; returns the archive."""
        archive = out / self.archive
        inner = [path.relative_to(out) for path in paths]
        write_atomically(archive, lambda file: self.pack(inner, out, file))
        return archive


def cityscapes_name(picture: Path) -> Path:
    """aachen_000000_000019_leftImg8bit.png -> aachen_000000_000019_pred_labelIds.png."""
    found = FRAME_NAME.match(picture.stem)
    if found is None:
        raise FeathersegError(f"{picture}: no picture of Cityscapes", expected="a name like berlin_000000_000019_...")
    return Path(f"{found[0]}_pred_labelIds.png")


def save_label_ids(mask: Mask, path: Path) -> None:
    """Train ids -> label ids, 8 bits gray."""
    image = Image.fromarray(np.array(cityscapes.LABEL_IDS, np.uint8)[mask])
    write_atomically(path, lambda file: image.save(file, "PNG"))


def zipped(paths: Sequence[Path], folder: Path, file: BinaryIO) -> None:
    """A zip of files that are compressed already."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            archive.write(folder / path, path.as_posix())


def tarred(paths: Sequence[Path], folder: Path, file: BinaryIO) -> None:
    """A tar.gz; names and times of this machine's users stay out."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for path in paths:
            archive.add(folder / path, path.as_posix(), filter=plain)


SUBMISSIONS: dict[str, Submission] = {
    "cityscapes": Submission(
        title="Cityscapes",
        classes=cityscapes.CLASSES,
        archive="cityscapes.zip",
        name=cityscapes_name,
        encode=save_label_ids,
        pack=zipped,
    ),
    "voc": Submission(
        title="PASCAL VOC",
        classes=voc.CLASSES,
        archive="results.tar.gz",
        name=lambda picture: VOC_FOLDER / f"{picture.stem}.png",
        encode=lambda mask, path: save_mask(mask, path, voc.CLASSES),
        pack=tarred,
    ),
}
"""Test server -> what it takes."""

SERVER_OF = {"cityscapes": "cityscapes", "voc": "voc", "voc_aug": "voc"}
"""Format -> its test server."""
