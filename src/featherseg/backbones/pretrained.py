"""A file of classifier weights -> an encoder: by name, or for torchvision's MobileNetV2 by position."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from featherseg.runtime.errors import FeathersegError

_log = logging.getLogger(__name__)


def load_pretrained(body: nn.Module, pretrained: str, *, imagenet_file: Callable[[], Path]) -> None:
    """Fill a backbone: "none" leaves it, "imagenet" takes the published weights, anything else is a file.

    What was loaded is logged, and a training says it.

    Args:
        body: the network whose tensors carry the names of the library it comes from.
        pretrained: "none", "imagenet" or a file.
        imagenet_file: gives the file of the published weights: from the cache, else downloaded.
    """
    if pretrained == "none":
        return
    path = imagenet_file() if pretrained == "imagenet" else Path(pretrained)
    tensors = read_tensors(path)
    wanted = {name: x for name, x in body.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = match(tensors, wanted)
    unlike = next((name for name, x in found.items() if x.shape != wanted[name].shape), "")
    if unlike or len(found) < len(wanted):
        raise FeathersegError(
            f"model.pretrained={path}",
            expected=f"the {len(wanted)} tensors of this backbone, in timm's or torchvision's names",
            got=f"{len(tensors)} tensors, of which {len(found)} match"
            + (
                f", but {unlike} has shape {tuple(found[unlike].shape)}, not {tuple(wanted[unlike].shape)}"
                if unlike
                else ""
            ),
            remedy='take the weights of the same network, or pretrained="none"',
        )
    for name, x in found.items():
        if what := damage(name, x):
            raise FeathersegError(
                f"model.pretrained={path}: {name}",
                expected="the weights of a trained network",
                got=what,
                remedy="take another file; one in 8 bits must be widened to floats first",
            )
    body.load_state_dict(found, strict=False)
    _log.info("model.pretrained=%s: %d of the backbone's %d tensors taken", path, len(found), len(wanted))


def damage(name: str, x: Tensor) -> str:
    """What no trained network's tensor can be, though its shape fits; empty where nothing is wrong."""
    if not x.is_floating_point():
        return f"{x.dtype} without a scale"
    if not x.isfinite().all():
        return "values that are not finite"
    if name.endswith("running_var") and (x < 0).any():
        return "variances below 0"
    return "" if x.dim() < 2 or x.any() else "zeros alone"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth file, which is read without running any code in it."""
    if not path.is_file():
        raise FeathersegError(
            f"model.pretrained={path}",
            expected='"none", "imagenet" or a file',
            got="no such file",
            remedy="check the path",
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own
        raise FeathersegError(
            f"model.pretrained={path} cannot be read ({type(error).__name__})",
            expected="a .safetensors file, or a .pth file of tensors alone",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    content = content if isinstance(content, Mapping) else {}
    return {str(name): x for name, x in content.items() if isinstance(x, Tensor)}


def match(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name in the encoder -> tensor of the file.

    timm cuts some networks by renaming (`stages.0.x` -> `stages_0.x`), so the marks between words do not count.
    """
    if "features.0.0.weight" in tensors and "conv_stem.weight" in wanted:
        return dict(zip(wanted, in_torchvision_order(tensors), strict=False))
    by_words = {_words(name): x for name, x in tensors.items()}
    return {name: by_words[_words(name)] for name in wanted if _words(name) in by_words}


def in_torchvision_order(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """torchvision's MobileNetV2 tensors in the order of its layers, which is timm's too (a file may sort by name)."""
    from torchvision.models import mobilenet_v2

    with torch.device("meta"):
        names = mobilenet_v2(weights=None).state_dict()
    return [tensors[name] for name in names if name in tensors and not name.endswith("num_batches_tracked")]


def _words(name: str) -> str:
    return name.removeprefix("module.").removeprefix("features.").replace(".", "_")
