"""ShuffleNetV2 1.0x of torchvision (timm has none), with strides turned into dilation.

Ma, Zhang, Zheng, Sun: "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018, Table 5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from featherseg.backbones.download import from_url
from featherseg.backbones.features import Encoder, Features, Stages, nominal_strides


class ShuffleNetEncoder(Encoder):
    """Stage 4 is c5; conv5 (464 -> 1024) belongs to the classifier and is left out, as MobileNetV2's last 1x1 is.

    Args:
        output_stride: 8, 16 or 32.
    """

    body: Any
    channels = Stages(24, 24, 116, 232, 464)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        from torchvision.models import shufflenet_v2_x1_0

        body = shufflenet_v2_x1_0(weights=None)
        body.conv5 = nn.Identity()
        body.fc = nn.Identity()
        self.strides = nominal_strides(output_stride)
        dilation, stride = 1, 4
        for stage in (body.stage2, body.stage3, body.stage4):
            stride *= 2
            turned = stride > output_stride
            first, *others = stage
            _space(first, dilation, strided=not turned)
            dilation *= 2 if turned else 1
            for block in others:
                _space(block, dilation, strided=False)
        self.body = body

    def forward(self, images: Tensor) -> Features:
        """float32 (N,3,H,W) -> `Features`."""
        c1 = self.body.conv1(images)  # (N, 24, H/2, W/2)
        c2 = self.body.maxpool(c1)  # (N, 24, H/4, W/4)
        c3 = self.body.stage2(c2)  # (N, 116, H/8, W/8)
        c4 = self.body.stage3(c3)  # (N, 232, H/16, W/16)
        c5 = self.body.stage4(c4)  # (N, 464, H/32, W/32)
        return Features(c1, c2, c3, c4, c5)

    def imagenet_file(self) -> Path:
        """torchvision's weights."""
        from torchvision.models import ShuffleNet_V2_X1_0_Weights

        return from_url(ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1.url)


def _space(block: nn.Module, dilation: int, *, strided: bool) -> None:
    """Set stride and dilation of a block's depth-wise convolutions; it still joins its two branches as before."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.stride = (2, 2) if strided else (1, 1)
            module.dilation = module.padding = (dilation, dilation)
