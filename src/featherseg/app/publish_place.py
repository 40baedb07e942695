"""Where a published network goes: its files, and what they must not be written over."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featherseg.export.card import is_foreign
from featherseg.export.published import published_text
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import write_atomically

NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files of a published network go.

    Attributes:
        folder: the folder.
        name: what they are called: NAME.safetensors or NAME.json, NAME.md, NAME.jpg.
        with_weights: whether the weights are written, or their card alone.
    """

    folder: Path
    name: str
    with_weights: bool

    def file(self, suffix: str) -> Path:
        """NAME and a suffix; a name may have dots in it."""
        return self.folder / f"{self.name}{suffix}"

    @property
    def target(self) -> Path:
        """The weights, or the card where they are not written."""
        return self.file(".safetensors" if self.with_weights else ".json")

    @property
    def files(self) -> list[Path]:
        """All of them, the target last."""
        return [self.file(".md"), self.file(".jpg"), self.target]

    def refuse(self) -> None:
        """Refuse a name that is none, and to write over what publish did not write, or over a run's own weights."""
        if not NAME.fullmatch(self.name):
            raise FeathersegError("--name", expected="letters, digits and . _ + -", got=repr(self.name))
        twin = self.file(".json" if self.with_weights else ".safetensors")
        if twin.exists():
            raise FeathersegError(
                f"{twin}: {self.name} would be published both with its weights and without",
                remedy="remove that file first, or choose another --name or --out",
            )
        card = self.file(".md")
        others = [self.file(".jpg"), *([] if self.with_weights else [self.target])]
        foreign = [card] if is_foreign(card) else [path for path in others if path.exists() and not card.exists()]
        if self.target.is_dir() or (self.name in ("best", "last") and (self.folder / "run.json").exists()):
            foreign.append(self.target)
        if foreign:
            raise FeathersegError(
                f"{foreign[0]}: would be written over, and was not written by featherseg publish",
                remedy="choose another --name or --out",
            )

    def write_text(self, card: dict[str, Any]) -> None:
        """Write the card for people."""
        text = published_text(card)
        write_atomically(self.file(".md"), lambda file: file.write(text.encode()))

    def write_card(self, card: dict[str, Any]) -> None:
        """Write the card as JSON, in place of weights."""
        text = json.dumps(card, indent=2) + "\n"
        write_atomically(self.target, lambda file: file.write(text.encode()))

    def write_picture(self, picture: bytes) -> None:
        """Write the pictures, a JPEG file."""
        write_atomically(self.file(".jpg"), lambda file: file.write(picture))
