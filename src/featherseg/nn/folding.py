"""Batch norm folded into the convolution before it: a pass less over each map, for networks that only predict."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

FOLDABLE = (nn.BatchNorm2d, nn.SyncBatchNorm)  # these very classes: a subclass may do more than normalise


def fold_norms(network: nn.Module) -> None:
    """Fold, in place, every batch norm that follows a convolution within an `nn.Sequential`.

    The network must be in evaluation mode, and stay there: afterwards it cannot be trained. Its scores differ by
    rounding alone; its state dict has other entries.
    """
    for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for (before, convolution), (after, norm) in pairwise(list(block.named_children())):
            if type(convolution) is nn.Conv2d and type(norm) in FOLDABLE:
                block.register_module(before, fuse_conv_bn_eval(convolution, norm))  # type: ignore[arg-type]
                block.register_module(after, nn.Identity())
