"""Miniature data sets in their true layouts, generated at test time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], np.uint8)


def scene(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture of three classes told apart by colour, and its class ids."""
    mask = np.zeros((height, width), np.uint8)
    for label in (1, 2):
        top, left = int(rng.integers(height // 2)), int(rng.integers(width // 2))
        mask[top : top + height // 2, left : left + width // 3] = label
    noise = rng.integers(-25, 26, (height, width, 3))
    return np.clip(COLOURS[mask].astype(int) + noise, 0, 255).astype(np.uint8), mask


def folder_tree(root: Path, *, train: int = 6, val: int = 2, size: tuple[int, int] = (72, 96)) -> Path:
    """The folder format: images/SPLIT, masks/SPLIT, classes.yaml; the first mask has an ignored corner."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text("names: [background, cat, dog]\nignore_index: 255\n")
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            image, mask = scene(rng, *size)
            mask[:4, :4] = 255
            Image.fromarray(image).save(root / "images" / split / f"photo{index}.jpg", quality=95)
            Image.fromarray(mask).save(root / "masks" / split / f"photo{index}.png")
    return root


def camvid_tree(root: Path, *, count: int = 3) -> Path:
    """CamVid in the SegNet layout: SPLIT, SPLITannot; ids 0..10 and 11 for void."""
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for index in range(count):
            mask = rng.integers(0, 12, (6, 8)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
            image = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
            Image.fromarray(image).save(root / split / f"{split}{index:03d}.png")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{split}{index:03d}.png")
    return root
