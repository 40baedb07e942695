"""Every loss a second time, in numpy and float64, and the cases that both writings are tried on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featherseg.losses import LOSSES

Doubles = npt.NDArray[np.float64]
FREQUENCIES = (0.6, 0.39, 0.009, 0.001)  # gamma 2, 2, 0, 0
# Every loss, and every field that changes its value.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ce": ("ce", {}),
    "ce weighted": ("ce", {"class_weights": (0.5, 2.0, 0.0, 1.0)}),
    "wcel": ("wcel", {"frequencies": FREQUENCIES}),
    "wcel 1.10": ("wcel", {"frequencies": FREQUENCIES, "c": 1.10}),
    "focal": ("focal", {}),
    "focal valid": ("focal", {"focal_mean": "valid", "alpha": 0.25, "gamma": 1.5, "class_weights": (1, 2, 3, 4)}),
    "focal root": ("focal", {"gamma": 0.5}),
    "dice": ("dice", {}),
    "dice unmasked": ("dice", {"dice_mask_ignored": False, "eps": 0.5}),
    "ce_dice": ("ce_dice", {}),
    "ce_dice unmasked": ("ce_dice", {"dice_mask_ignored": False, "dice_weight": 0.3, "class_weights": (1, 2, 3, 4)}),
    "owfl": ("owfl", {"frequencies": FREQUENCIES}),
    "owfl absent": ("owfl", {"frequencies": (0.9, 0.1, 0.0, 0.0)}),
    "owfl_ce": ("owfl_ce", {"frequencies": FREQUENCIES}),
    "owfl_se": ("owfl_se", {"frequencies": FREQUENCIES}),
    "ohem": ("ohem", {}),
    "ohem least": ("ohem", {"threshold": 0.05, "min_kept": 0.3}),
}


def case(seed: int = 3, classes: int = 4, occurring: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, target with ignored pixels (one picture has none), presence logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, classes, 5, 7, generator=generator)
    target = torch.randint(0, occurring, (3, 5, 7), generator=generator).to(torch.uint8)
    target[0, :2] = 255
    target[1, :, 3:] = 255
    return logits, target, torch.randn(3, classes, generator=generator)


def ours(
    variant: str, logits: torch.Tensor, target: torch.Tensor, presence: torch.Tensor, **whole: Any
) -> torch.Tensor:
    name, fields = VARIANTS[variant]
    return LOSSES[name](**fields)(logits, target, presence=presence, **whole)


def by_hand(variant: str, logits: Doubles, target: npt.NDArray[np.integer], presence: Doubles) -> float:
    """The same losses in numpy, float64, from the formulas of the papers."""
    name, fields = VARIANTS[variant]
    pictures, classes = logits.shape[:2]
    rows = logits.transpose(0, 2, 3, 1).reshape(-1, classes)
    label = target.reshape(-1).astype(int)
    valid = label != 255
    p = np.exp(rows - rows.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    y = label[valid]
    p_t = p[valid, y]
    by_class = np.array(fields.get("class_weights", np.ones(classes)))[y]
    ce = -np.log(p_t)

    def dice() -> float:
        truth = np.zeros_like(p)
        truth[np.flatnonzero(valid), y] = 1
        seen = p * valid[:, None] if fields.get("dice_mask_ignored", True) else p
        eps = fields.get("eps", 1e-5)
        return 1 - float(np.mean((2 * (seen * truth).sum(0) + eps) / (seen.sum(0) + truth.sum(0) + eps)))

    def owfl() -> Doubles:
        f = np.array(fields["frequencies"])
        weights = 1 / np.log(f + 1.02)
        alpha = np.where(f > 0, weights / weights[f > 0].max(), 1)
        gamma = np.where(f > 0, np.floor(np.log10(np.maximum(f, 1e-30) / f[f > 0].min())), 0)
        return alpha[y] * (1 - p_t) ** gamma[y] * ce

    def encoding() -> float:
        errors = []
        for n in range(pictures):
            here = [int(c in target[n]) for c in range(classes)]
            q = 1 / (1 + np.exp(-presence[n]))
            if (target[n] != 255).any():
                errors.append(np.mean([-math.log(q[c]) if here[c] else -math.log(1 - q[c]) for c in range(classes)]))
        return float(np.mean(errors))

    def hard() -> float:
        least = max(1, math.floor(len(ce) * fields.get("min_kept", 1 / 16)))
        kept = ce[p_t < fields.get("threshold", 0.7)]
        return float(np.mean(kept if len(kept) >= least else np.sort(ce)[-least:]))

    if name == "focal":
        terms = fields.get("alpha", 0.5) * (1 - p_t) ** fields.get("gamma", 2) * ce * by_class
        return float(terms.sum() / (len(label) if fields.get("focal_mean", "all") == "all" else valid.sum()))
    values: dict[str, Callable[[], float]] = {
        "ce": lambda: np.mean(by_class * ce),
        "wcel": lambda: np.mean(ce / np.log(np.array(fields["frequencies"])[y] + fields.get("c", 1.02))),
        "dice": dice,
        "ce_dice": lambda: np.mean(by_class * ce) + fields.get("dice_weight", 1) * dice(),
        "owfl": lambda: np.mean(owfl()),
        "owfl_ce": lambda: np.mean(owfl() + 0.5 * ce),
        "owfl_se": lambda: np.mean(owfl()) + 0.2 * encoding(),
        "ohem": hard,
    }
    return float(values[name]())
