"""One contract suite over every network of the menu."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from featherseg.backbones import BACKBONES
from featherseg.export.graph import TRACES_POOLS
from featherseg.models import MODELS, SegNetwork, SegOutput, create_model, list_models, model_config
from featherseg.models.checkpoint import MODEL_KEY, load_checkpoint
from featherseg.models.costs import count_parameters
from featherseg.models.fast_scnn import DSConv
from featherseg.nn.blocks import DepthwiseSeparable
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

ON_A_BACKBONE = [name for name in MODELS if "backbone" in MODELS[name].fields()]

# at 19 classes: (training form, deployed)
PARAMETERS = {
    "caspp_deeplab": (6_080_018, 6_077_567),
    "fe_deeplab": (6_025_299, 6_025_299),
    "hybrid_fusion": (2_263_975, 1_986_651),
    "dsc_deeplab": (3_867_717, 3_867_717),
    "affnet": (1_622_810, 1_622_810),
    "deeplabv3plus": (5_817_635, 5_817_635),
    "fast_scnn": (1_138_051, 1_138_051),
    "spssnet": (1_405_891, 1_405_891),
    "enet": (360_185, 360_185),
    "erfnet": (2_066_642, 2_064_191),
    "unet_vgg16": (24_892_307, 24_892_307),
    "pspnet_resnet50": (49_080_038, 46_715_347),
    "smp_deeplabv3plus": (4_383_139, 4_383_139),
    "smp_unet": (6_631_555, 6_631_555),
    "lraspp": (3_221_198, 3_221_198),
}

ALIGNED = ("fe_deeplab", "dsc_deeplab", "deeplabv3plus", "pspnet_resnet50", "smp_deeplabv3plus", "smp_unet")

LARGE = ("unet_vgg16", "pspnet_resnet50", "smp_unet")


def slow(*names: str) -> list[object]:
    """Every network, these with the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in names else name for name in MODELS]


EACH = slow(*LARGE)
LEARNERS = slow(*LARGE, "enet", "erfnet", "smp_deeplabv3plus", "lraspp")
POOLS = pytest.mark.skipif(torch.__version__ < TRACES_POOLS, reason="torch cannot trace a max pool for every size")
EXPORTS = (
    pytest.param("affnet", marks=POOLS),
    "deeplabv3plus",
    pytest.param("enet", marks=[POOLS, pytest.mark.slow]),
    pytest.param("smp_unet", marks=pytest.mark.slow),
)
"""For torch's own program; the file tests go through it for every network on its way to ONNX."""

# rate and steps of Adam, where they are not 3e-3 and 15: dropout after each block asks for more of both, a deep network
# without batch norm for less
LEARNING = {"enet": (1e-2, 30), "unet_vgg16": (3e-4, 15)}


def every_value() -> list[object]:
    """(network, field, value) for every value of every closed field, and every listed backbone."""
    found: list[object] = []
    for name, config in MODELS.items():
        menus = dict(config.choices())
        if name in ON_A_BACKBONE:
            menus["backbone"] = tuple(BACKBONES)
        marks = pytest.mark.slow if name in LARGE else ()
        found += [pytest.param(name, field, value, marks=marks) for field, menu in menus.items() for value in menu]
    return found


def build(name: str, *, num_classes: int = 3, seed: int = 0, **fields: object) -> SegNetwork:
    torch.manual_seed(seed)
    return create_model(name, num_classes=num_classes, **fields)


def pictures(count: int, height: int, width: int, *, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def ceil_div(size: int, stride: int) -> int:
    return math.ceil(size / stride)


def test_every_network_records_its_parameters() -> None:
    assert set(PARAMETERS) == set(MODELS) == set(list_models())


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_corners(name: str) -> None:
    with torch.device("meta"):
        network = build(name, num_classes=19)
    assert (count_parameters(network), count_parameters(network.deployed())) == PARAMETERS[name]
    assert network.align_corners == (name in ALIGNED)


@pytest.mark.parametrize("name", EACH)
@torch.no_grad()
def test_one_picture_of_any_size_gives_scores_at_the_stride(name: str) -> None:
    network = build(name).eval()
    for height, width in ((64, 64), (65, 97), (33, 32)):
        images = pictures(1, height, width)
        output = network(images)
        assert isinstance(output, SegOutput)
        assert output.logits.shape == (1, 3, ceil_div(height, network.stride), ceil_div(width, network.stride))
        assert output.logits.dtype == torch.float32
        assert network.logits(images).shape == (1, 3, height, width)


@pytest.mark.parametrize("name", MODELS)
def test_shapes_at_the_sizes_of_the_papers(name: str) -> None:
    with torch.device("meta"):
        network = build(name).eval()
    for height, width in ((880, 880), (513, 1024)):
        logits = network(torch.zeros(1, 3, height, width, device="meta")).logits
        assert logits.shape[2:] == (ceil_div(height, network.stride), ceil_div(width, network.stride))


@pytest.mark.parametrize("name", EACH)
@torch.no_grad()
def test_training_and_evaluation_return_the_same_form(name: str) -> None:
    network = build(name)
    images = pictures(2, 64, 64)
    trained, evaluated = network.train()(images), network.eval()(images)
    assert type(trained) is type(evaluated) is SegOutput
    assert [x.shape for x in trained.aux_logits] == [x.shape for x in evaluated.aux_logits]
    assert all(x.shape[:2] == (2, 3) for x in trained.aux_logits)
    assert (trained.presence is None) == (evaluated.presence is None)


@pytest.mark.parametrize("name", LEARNERS)
def test_learns_one_batch(name: str) -> None:
    network = build(name).train()
    target = torch.zeros(2, 64, 64, dtype=torch.int64)
    target[0, :, 32:] = 1
    target[1, 32:] = 2
    images = 0.1 * pictures(2, 64, 64) + F.one_hot(target, 3).permute(0, 3, 1, 2)
    rate, steps = LEARNING.get(name, (3e-3, 15))
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(network.logits(images), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0], losses


@pytest.mark.parametrize("name", EACH)
def test_every_parameter_that_is_deployed_gets_a_gradient(name: str) -> None:
    network = build(name).train().deployed()
    network(pictures(2, 64, 64)).logits.square().mean().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("name", "field", "value"), every_value())
@torch.no_grad()
def test_every_value_of_every_field_builds(name: str, field: str, value: object) -> None:
    network = build(name, **{field: value}).eval()
    logits = network(pictures(1, 65, 97)).logits
    assert logits.shape == (1, 3, ceil_div(65, network.stride), ceil_div(97, network.stride))


@pytest.mark.parametrize("name", EACH)
@torch.no_grad()
def test_state_round_trip(name: str) -> None:
    first, second = build(name, seed=1).eval(), build(name, seed=2).eval()
    images = pictures(1, 64, 64)
    assert not torch.equal(first.logits(images), second.logits(images))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.logits(images), second.logits(images))


@pytest.mark.parametrize("name", [*EACH, "affnet with presence"])
@torch.no_grad()
def test_deployed_drops_training_heads_alone(name: str) -> None:
    name, _, head = name.partition(" with ")
    network = build(name, **({head: True} if head else {})).eval()
    before = list(network.state_dict())
    deployed = network.deployed()
    images = pictures(1, 64, 64)
    output = deployed(images)
    assert type(deployed) is type(network)
    assert output.aux_logits == ()
    assert output.presence is None
    assert torch.equal(output.logits, network(images).logits)
    dropped = set(before) - set(deployed.state_dict())
    assert all("aux_heads" in key or "presence" in key for key in dropped)
    assert bool(dropped) == (network(images).aux_logits != () or network(images).presence is not None)
    assert list(network.state_dict()) == before


@pytest.mark.parametrize("name", EACH)
def test_a_training_batch_of_one_fails_exactly_where_the_network_says_so(name: str) -> None:
    network = build(name).train()
    if network.has_image_pooling:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(pictures(1, 64, 64))
    else:
        network(pictures(1, 64, 64))


@pytest.mark.parametrize("name", EXPORTS)
@torch.no_grad()
def test_an_exported_program_agrees_at_other_sizes(name: str) -> None:
    network = build(name, seed=3).deployed().eval()
    for key, parameter in network.named_parameters():
        if key.endswith("gamma"):  # attentions that begin with no share
            parameter.fill_(0.5)
    # from 33: at 32 the deepest map is one cell, which a trace treats apart
    height, width = torch.export.Dim("height", min=33, max=4096), torch.export.Dim("width", min=33, max=4096)
    sizes = {"images": {2: height, 3: width}}
    program = torch.export.export(network, (pictures(1, 96, 128),), dynamic_shapes=sizes).module()
    for side in ((64, 160), (65, 97), (129, 75)):
        images = pictures(1, *side)
        torch.testing.assert_close(program(images).logits, network(images).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ON_A_BACKBONE)
def test_backbone_fields(name: str) -> None:
    config = MODELS[name]()
    assert config.pretrained == "none"
    assert config.output_stride == (32 if name == "hybrid_fusion" else 16)
    with torch.device("meta"):
        network = build(name, backbone="timm:resnet18", output_stride=8).eval()
    assert network(torch.zeros(1, 3, 64, 64, device="meta")).logits.shape == (1, 3, 16, 16)


@torch.no_grad()
def test_fast_scnn_omits_the_activation_inside_its_separable_convolution() -> None:
    torch.manual_seed(0)
    block = DSConv(4, 6, stride=2)
    for parameter in block.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    block.eval()
    convolutions = [module for module in block.modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in block.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    x = pictures(1, 9, 12)[:, [0, 1, 2, 0]]
    y = F.conv2d(x, convolutions[0].weight, stride=2, padding=1, groups=4)
    y = F.conv2d(norms[0](y), convolutions[1].weight)
    torch.testing.assert_close(block(x), norms[1](y).clamp(min=0))
    for name in ("fast_scnn", "spssnet"):
        network = build(name)
        parts = [*network.downsample.modules(), *network.classifier.modules()]
        assert sum(isinstance(part, DSConv) for part in parts) == 4
        assert not any(isinstance(part, DepthwiseSeparable) for part in network.modules())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: create_model("afnet", num_classes=3), ("afnet", "did you mean 'affnet'?")),
        (lambda: model_config("affnet", fuson="ewa"), ("fuson", "did you mean 'fusion'?")),
        (lambda: model_config("dsc_deeplab", attention="cban"), ("model.attention", "did you mean 'cbam'?")),
        (lambda: model_config("fe_deeplab", backbone="mobilenet2"), ("model.backbone", "did you mean 'mobilenetv2'?")),
        (lambda: model_config("fe_deeplab", backbone="timm:"), ("model.backbone", "timm:NAME")),
        (lambda: model_config("fe_deeplab", output_stride=4), ("model.output_stride", "16, 8, 32")),
        (lambda: create_model("affnet", num_classes=0), ("num_classes", "1..255")),
        (lambda: create_model("spssnet", num_classes=256), ("num_classes", "1..255")),
        (lambda: create_model("affnet", num_classes=2.5), ("num_classes", "a whole number, 1..255", "got 2.5")),
        (lambda: create_model("affnet", num_classes="3"), ("num_classes", "a whole number, 1..255", "got '3'")),
        (lambda: create_model("affnet", num_classes=True), ("num_classes", "a whole number, 1..255", "got True")),
    ],
)
def test_mistakes_are_refused_in_one_line(call, words: tuple[str, ...]) -> None:
    with pytest.raises(FeathersegError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_the_menu_stands_in_the_order_of_the_papers() -> None:
    papers = [config.paper for config in MODELS.values() if config.paper]
    assert all(a < b for a, b in pairwise(papers))


@pytest.mark.parametrize("model", ["", "{", "[]", "{}", '{"name": 3}'])
def test_a_checkpoint_whose_model_cannot_be_read_is_refused(tmp_path: Path, model: str) -> None:
    metadata = {METADATA_KEY: Artefact(classes=Classes(names=("a", "b"))).to_text(), MODEL_KEY: model}
    path = tmp_path / "best.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(FeathersegError, match=r"best\.safetensors: its 'model' metadata cannot be read"):
        load_checkpoint(path)
