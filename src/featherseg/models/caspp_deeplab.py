"""DeepLabv3+ with channel attention in ASPP, CBAM on both levels, and a decoder that predicts neighbourhoods.

Xia, Long: "Design and Implementation of a Lightweight Image Semantic Segmentation Model Combining Attention Mechanism"
(paper 000), Fig. 1 (network), Fig. 2 (C-ASPP), section 3.5 (decoder), Table 2 (the rows).

What the paper leaves open and how it is read here (the printed sizes decide, where they can):
- "Dense neighbourhood prediction" is the Densely Adjacent Prediction of ExFuse (Zhang et al. 2018), which the paper
  reaches through its reference 5: k*k scores per class and place, each meant for one neighbour; decoder="fusion"
  leaves it out.
- The auxiliary loss on the "intermediate layer" is a 1x1 classifier after the decoder's first 3x3 convolution.
- CBAM "on high-level features" stands on ASPP's concatenated map, where its cost fits the printed size; cbam="backbone"
  is the literal reading, on c5.
- "Upsampled by 2" from 1/16 cannot meet 1/4; the deep map is resized to the shallow one's size. The shallow map is not
  reduced. Convolutions before batch norm have no bias. "Four branches" are five.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.backbones import create_encoder
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.aspp import ASPP, RATES
from featherseg.nn.attention import CBAM, ChannelAttention
from featherseg.nn.blocks import ConvBNReLU, DepthwiseSeparable, size_of
from featherseg.nn.fusion import FusingConv, concat_at_first

WIDTH = 256  # channels of each branch of ASPP
CONCAT = 5 * WIDTH


class DenselyAdjacentPrediction(nn.Module):
    """DAP: the score at (i,j) is the mean of what its k*k neighbours, itself included, say of (i,j) (ExFuse, Eq. 1).

    score[c,i,j] = 1/k^2 * sum over l,m of x[c, l*k+m, i+l-k//2, j+m-k//2]; outside the map nothing is said (zero).
    """

    def __init__(self, num_classes: int, *, reach: int = 3) -> None:
        super().__init__()
        self.num_classes, self.reach = num_classes, reach

    def forward(self, x: Tensor) -> Tensor:
        """(N,num_classes*k*k,h,w) -> (N,num_classes,h,w)."""
        k = self.reach
        height, width = size_of(x)
        by_place = x.unflatten(1, (self.num_classes, k * k))  # type: ignore[no-untyped-call]  # (N, C, k*k, h, w)
        said = F.pad(by_place, (k // 2,) * 4).unbind(2)  # k*k maps (N, C, h+k-1, w+k-1)
        shifted = [said[l * k + m][:, :, l : l + height, m : m + width] for l in range(k) for m in range(k)]  # noqa: E741
        total: Tensor = shifted[0]
        for scores in shifted[1:]:
            total = total + scores
        return total / (k * k)


class FusionDecoder(nn.Module):
    """Two 3x3 convolutions and a classifier (section 3.5); DAP on its scores where the row has it.

    Args:
        channels: of the shallow and of the deep map.
        num_classes: channels of the scores.
        output_stride: of the deep map.
        reach: side of the neighbourhood that a place predicts; 1 is a plain classifier.
    """

    def __init__(
        self, channels: tuple[int, int], num_classes: int, output_stride: int, *, reach: int, hidden: int = 128
    ) -> None:
        super().__init__()
        self.fuse = FusingConv(channels, hidden, deep=int(output_stride >= 16))
        self.refine = ConvBNReLU(hidden, hidden, 3)
        self.classifier = nn.Conv2d(hidden, num_classes * reach**2, 1)
        self.gather = DenselyAdjacentPrediction(num_classes, reach=reach) if reach > 1 else nn.Identity()
        self.aux_heads = nn.ModuleList([nn.Conv2d(hidden, num_classes, 1)])

    def forward(self, maps: list[Tensor]) -> SegOutput:
        """(N,24,H/4,W/4), (N,256,H/16,W/16) -> logits and auxiliary logits (N,num_classes,H/4,W/4)."""
        y = self.fuse(maps)  # (N, 280, H/4, W/4) -> (N, 128, H/4, W/4)
        logits = self.gather(self.classifier(self.refine(y)))
        return SegOutput(logits, tuple(head(y) for head in self.aux_heads))


class PlainDecoder(nn.Module):
    """The decoder of the rows before the last: one separable convolution and a classifier."""

    def __init__(self, channels: tuple[int, int], num_classes: int, output_stride: int) -> None:
        super().__init__()
        self.fuse = DepthwiseSeparable(sum(channels), WIDTH)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.aux_heads = nn.ModuleList()

    def forward(self, maps: list[Tensor]) -> SegOutput:
        """(N,24,H/4,W/4), (N,256,H/16,W/16) -> logits (N,num_classes,H/4,W/4)."""
        fused = concat_at_first(maps, align_corners=False)  # (N, 280, H/4, W/4)
        return SegOutput(self.classifier(self.fuse(fused)))


CONTEXT: dict[str, Callable[[], nn.Module]] = {
    "caspp": lambda: ChannelAttention(CONCAT, 256, bias=True),
    "aspp": nn.Identity,
}

# CBAM on c2, on c5, and on ASPP's concatenated map
CBAM_ON_LOW: dict[str, Callable[[int], nn.Module]] = {
    "concat": lambda channels: CBAM(channels, reduction=8),
    "backbone": lambda channels: CBAM(channels, reduction=8),
    "none": nn.Identity,
}
CBAM_ON_HIGH: dict[str, Callable[[int], nn.Module]] = {
    "concat": nn.Identity,
    "backbone": lambda channels: CBAM(channels, reduction=16),
    "none": nn.Identity,
}
CBAM_ON_CONCAT: dict[str, Callable[[], nn.Module]] = {
    "concat": lambda: CBAM(CONCAT, reduction=8),
    "backbone": nn.Identity,
    "none": nn.Identity,
}

DECODER: dict[str, Callable[[tuple[int, int], int, int], FusionDecoder | PlainDecoder]] = {
    "dnp": partial(FusionDecoder, reach=3),
    "fusion": partial(FusionDecoder, reach=1),
    "plain": PlainDecoder,
}


@dataclass(frozen=True, kw_only=True)
class CASPPDeepLabConfig(ModelConfig):
    """The network of paper 000; the defaults are the last row of Table 2.

    Attributes:
        backbone: a listed backbone (Table 1 and the Xception baseline) or `timm:NAME`.
        context: ASPP with or without channel attention on its concatenated map.
        cbam: where CBAM stands on the high level; on the low level it stands on c2 in both readings.
        decoder: neighbourhood prediction; the same decoder without it; the decoder of the earlier rows.
        output_stride: stride of the map that ASPP sees.
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = "000"
    title: ClassVar[str] = "DeepLabv3+ with C-ASPP, CBAM and dense neighbourhood prediction"
    backbone: str = "mobilenetv2"
    context: Literal["caspp", "aspp"] = "caspp"
    cbam: Literal["concat", "backbone", "none"] = "concat"
    decoder: Literal["dnp", "fusion", "plain"] = "dnp"
    output_stride: Literal[16, 8, 32] = 16
    pretrained: str = "none"

    def build(self, num_classes: int) -> CASPPDeepLab:
        """The network; random weights outside the backbone."""
        return CASPPDeepLab(num_classes, self)


class CASPPDeepLab(SegNetwork):
    """The network of Fig. 1."""

    stride = 4
    has_image_pooling = True

    def __init__(self, num_classes: int, config: CASPPDeepLabConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.encoder = create_encoder(config.backbone, output_stride=config.output_stride, pretrained=config.pretrained)
        channels = self.encoder.channels
        self.attend_low = CBAM_ON_LOW[config.cbam](channels.c2)
        self.attend_high = CBAM_ON_HIGH[config.cbam](channels.c5)
        recalibrate = nn.Sequential(CONTEXT[config.context](), CBAM_ON_CONCAT[config.cbam]())
        self.aspp = ASPP(channels.c5, RATES[config.output_stride], recalibrate=recalibrate)
        self.decoder = DECODER[config.decoder]((channels.c2, WIDTH), num_classes, config.output_stride)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits and auxiliary logits (N,num_classes,H/4,W/4)."""
        features = self.encoder(images)
        low = self.attend_low(features.c2)  # (N, 24, H/4, W/4)
        high = self.attend_high(features.c5)  # (N, 320, H/16, W/16)
        context = self.aspp(high)  # (N, 256, H/16, W/16)
        return self.decoder([low, context])  # type: ignore[no-any-return]

    def drop_training_heads(self) -> None:
        """The auxiliary head of the decoder."""
        self.decoder.aux_heads = nn.ModuleList()
