"""Peers that live in libraries, as they are there: what a user would pick instead of a network of ours.

- `smp_deeplabv3plus`, `smp_unet`: segmentation_models_pytorch (MIT) with its `mobilenet_v2` encoder.
- `lraspp`: torchvision's LR-ASPP on MobileNetV3-Large (Howard et al., "Searching for MobileNetV3", 2019, section 6.4).

Encoder, decoder and classifier are the library's own modules; the resizing to the input's size that follows them there
is left to the one place that does it here. So scores lie at the network's stride and `logits` equals what the library
returns. Sizes that the library refuses are padded with zeros to the next one that it takes, and the scores cropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from featherseg.backbones import from_url, load_pretrained
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.blocks import crop_padding, pad_to_multiple, size_of
from featherseg.runtime.errors import FeathersegError


@dataclass(frozen=True, kw_only=True)
class LibraryConfig(ModelConfig):
    """A network of a library.

    Attributes:
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = ""
    pretrained: str = "none"


class SMPDeepLabV3PlusConfig(LibraryConfig):
    """DeepLabV3+ of segmentation_models_pytorch."""

    title: ClassVar[str] = "DeepLabV3+ MobileNetV2 (segmentation_models_pytorch)"

    def build(self, num_classes: int) -> SMPNetwork:
        """The network; random weights outside the backbone."""
        return SMPNetwork("DeepLabV3Plus", num_classes, self.pretrained, stride=4, multiple=16, image_pooling=True)


class SMPUnetConfig(LibraryConfig):
    """Unet of segmentation_models_pytorch."""

    title: ClassVar[str] = "Unet MobileNetV2 (segmentation_models_pytorch)"

    def build(self, num_classes: int) -> SMPNetwork:
        """The network; random weights outside the backbone."""
        return SMPNetwork("Unet", num_classes, self.pretrained, stride=1, multiple=32, image_pooling=False)


class LRASPPConfig(LibraryConfig):
    """LR-ASPP of torchvision."""

    title: ClassVar[str] = "LR-ASPP MobileNetV3-Large (torchvision)"

    def build(self, num_classes: int) -> LRASPP:
        """The network; random weights outside the backbone."""
        return LRASPP(num_classes, self.pretrained)


class SMPNetwork(SegNetwork):
    """A network of segmentation_models_pytorch up to its classifier.

    Args:
        architecture: the class in that library.
        num_classes: channels of the logits.
        pretrained: see `LibraryConfig`.
        stride: input pixels per cell of what the decoder gives.
        multiple: what the library wants the sides to be divisible by.
        image_pooling: whether it normalises a 1x1 map.
    """

    encoder: Any
    decoder: Any
    align_corners = True  # smp enlarges scores by UpsamplingBilinear2d

    def __init__(
        self, architecture: str, num_classes: int, pretrained: str, *, stride: int, multiple: int, image_pooling: bool
    ) -> None:
        super().__init__()
        require_classes(num_classes)
        try:
            import segmentation_models_pytorch as smp
        except ImportError as error:
            raise FeathersegError(
                "this network is one of segmentation_models_pytorch", remedy="pip install segmentation-models-pytorch"
            ) from error
        network = getattr(smp, architecture)("mobilenet_v2", encoder_weights=None, classes=num_classes)
        self.num_classes, self.stride, self.multiple = num_classes, stride, multiple
        self.has_image_pooling = image_pooling
        self.encoder, self.decoder, self.classifier = network.encoder, network.decoder, network.segmentation_head[0]
        load_pretrained(self.encoder, pretrained, imagenet_file=mobilenet_v2_file)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/stride,W/stride), rounded up."""
        scores = self.classifier(self.decoder(self.encoder(pad_to_multiple(images, self.multiple))))
        return SegOutput(crop_padding(scores, size_of(images), self.multiple, stride=self.stride))


class LRASPP(SegNetwork):
    """torchvision's LR-ASPP up to its classifier."""

    encoder: Any
    stride = 8

    def __init__(self, num_classes: int, pretrained: str) -> None:
        super().__init__()
        require_classes(num_classes)
        from torchvision.models.segmentation import lraspp_mobilenet_v3_large

        network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=num_classes)
        self.num_classes = num_classes
        self.encoder, self.classifier = network.backbone, network.classifier
        load_pretrained(self.encoder, pretrained, imagenet_file=mobilenet_v3_file)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/8,W/8)."""
        return SegOutput(self.classifier(self.encoder(images)))


def mobilenet_v2_file() -> Path:
    """torchvision's weights."""
    from torchvision.models import MobileNet_V2_Weights

    return from_url(MobileNet_V2_Weights.IMAGENET1K_V2.url)


def mobilenet_v3_file() -> Path:
    """torchvision's weights."""
    from torchvision.models import MobileNet_V3_Large_Weights

    return from_url(MobileNet_V3_Large_Weights.IMAGENET1K_V2.url)
