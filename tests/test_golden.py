"""Integers and costs that the papers print, or that follow from them: a network that drifts is caught here."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
import torch

from featherseg.models import SegNetwork, create_model
from featherseg.models.costs import count_macs, count_operations, count_parameters, figures
from featherseg.recipes.tables.conventions import PTFLOPS, THOP, file_megabytes


def build(name: str, *, num_classes: int = 21, **fields: object) -> SegNetwork:
    with torch.device("meta"):
        return create_model(name, num_classes=num_classes, **fields)


@pytest.mark.parametrize(
    ("context", "cbam", "decoder", "training", "deployed"),
    [
        ("aspp", "none", "plain", 4_598_813, 4_598_813),
        ("caspp", "none", "plain", 5_255_709, 5_255_709),
        ("caspp", "concat", "plain", 5_665_649, 5_665_649),
        ("caspp", "concat", "dnp", 6_082_598, 6_079_889),
        ("caspp", "concat", "fusion", 6_060_926, 6_058_217),
        ("caspp", "backbone", "plain", 5_268_849, 5_268_849),
        ("caspp", "backbone", "dnp", 5_685_798, 5_683_089),
    ],
)
def test_paper_000_table_2(context: str, cbam: str, decoder: str, training: int, deployed: int) -> None:
    network = build("caspp_deeplab", context=context, cbam=cbam, decoder=decoder)
    assert count_parameters(network) == training
    assert count_parameters(network.deployed()) == deployed


@pytest.mark.parametrize(("decoder", "gmac"), [("plain", 6.37), ("dnp", 13.17)])
def test_paper_000_macs(decoder: str, gmac: float) -> None:
    assert round(count_macs(build("caspp_deeplab", decoder=decoder), (512, 512)) / 1e9, 2) == gmac


@pytest.mark.parametrize(("enhancement", "params"), [("none", 5_818_149), ("fe", 6_025_813)])
def test_paper_001(enhancement: str, params: int) -> None:
    assert count_parameters(build("fe_deeplab", enhancement=enhancement)) == params


def test_paper_002_by_our_design() -> None:
    network = build("hybrid_fusion", num_classes=19)
    assert count_parameters(network) == 2_263_975
    assert count_parameters(network.deployed()) == 1_986_651
    assert count_parameters(build("hybrid_fusion", num_classes=19, supervision="none")) == 1_986_651


@pytest.mark.parametrize(
    ("attention", "context", "params", "gflops"),
    [
        ("none", "aspp", 5_818_149, 53.026),
        ("se", "aspp", 5_826_341, 53.027),
        ("eca", "aspp", 5_818_154, 53.027),
        ("cbam", "aspp", 5_826_439, 53.027),
        ("eca", "separable_aspp", 3_859_946, 49.018),
        ("cbam", "separable_aspp", 3_868_231, 49.018),
    ],
)
def test_paper_003_tables_2_and_3(attention: str, context: str, params: int, gflops: float) -> None:
    network = build("dsc_deeplab", attention=attention, context=context)
    assert count_parameters(network) == params
    assert round(THOP.of(count_operations(network, (512, 512))), 3) == gflops


def test_paper_003_base_model() -> None:
    network = build("deeplabv3plus")
    assert count_parameters(network) == 5_818_149
    assert count_macs(network, (512, 512)) == 26_310_950_912
    assert round(THOP.of(count_operations(network, (512, 512))), 3) == 53.026
    assert round(THOP.of(count_operations(build("fe_deeplab"), (512, 512))), 2) == 58.09


@pytest.mark.parametrize(
    ("fusion", "params", "gmac"),
    [
        ("concat+ewa", 1_622_810, 5.256),
        ("ewa", 1_458_074, 3.907),
        ("concat", 1_694_234, 5.846),
        ("ewa+concat", 1_547_290, 4.645),
        ("fpn_pan", 1_557_402, 3.420),
    ],
)
def test_paper_004_tables_1_and_2(fusion: str, params: int, gmac: float) -> None:
    network = build("affnet", num_classes=19, fusion=fusion)
    assert count_parameters(network) == params
    assert round(PTFLOPS.of(count_operations(network, (512, 1024))), 3) == gmac


def test_paper_004_with_the_plan_as_its_text_has_it() -> None:
    assert count_parameters(build("affnet", num_classes=19, plan="literal")) == 1_755_930


@pytest.mark.parametrize(("name", "params", "gmac"), [("fast_scnn", 1_138_051, 6.71), ("spssnet", 1_405_891, 6.12)])
def test_baselines_of_paper_004(name: str, params: int, gmac: float) -> None:
    network = build(name, num_classes=19)
    assert count_parameters(network) == params
    assert round(count_macs(network, (1024, 2048)) / 1e9, 2) == gmac


def norm(channels: int) -> int:
    """Parameters of a batch norm."""
    return 2 * channels


def test_enet_counted_by_hand() -> None:
    def bottleneck(i: int, o: int, *, kernel: int = 1, middle: int = 9, slopes: int = 1) -> int:
        """Two projections and a middle of so many taps, each with its norm; three activations."""
        w = o // 4
        return i * w * kernel**2 + norm(w) + middle * w * w + norm(w) + w * o + norm(o) + 3 * slopes

    asymmetric = bottleneck(128, 128, middle=10) + norm(32) + 1  # one more norm and slope between 5x1 and 1x5
    stage = 6 * bottleneck(128, 128) + 2 * asymmetric
    encoder = 27 * 13 + norm(16) + 1  # the initial block
    encoder += bottleneck(16, 64, kernel=2) + 4 * bottleneck(64, 64) + bottleneck(64, 128, kernel=2) + 2 * stage
    decoder = bottleneck(128, 64, slopes=0) + 128 * 64 + norm(64) + 2 * bottleneck(64, 64, slopes=0)
    decoder += bottleneck(64, 16, slopes=0) + 64 * 16 + norm(16) + bottleneck(16, 16, slopes=0)
    assert count_parameters(build("enet", num_classes=19)) == encoder + decoder + 19 * (4 * 16 + 1) == 360_185


def test_erfnet_counted_by_hand() -> None:
    def residual(c: int) -> int:
        return 4 * (3 * c * c + c) + 2 * norm(c)

    def down(i: int, o: int) -> int:
        return (9 * i + 1) * (o - i) + norm(o)

    def up(i: int, o: int) -> int:
        return (9 * i + 1) * o + norm(o)

    encoder = down(3, 16) + down(16, 64) + 5 * residual(64) + down(64, 128) + 8 * residual(128)
    decoder = up(128, 64) + 2 * residual(64) + up(64, 16) + 2 * residual(16) + 19 * (4 * 16 + 1)
    network = build("erfnet", num_classes=19)
    assert count_parameters(network.deployed()) == encoder + decoder == 2_064_191
    assert count_parameters(network) == encoder + decoder + 19 * (128 + 1) == 2_066_642
    assert count_parameters(build("erfnet", num_classes=19, supervision="none")) == 2_064_191


def test_the_large_peers_of_paper_001() -> None:
    unet = build("unet_vgg16")
    assert count_parameters(unet.encoder) == 14_714_688
    assert count_parameters(unet) == 24_892_437
    assert 94.9 < file_megabytes(unet) < 95  # printed: 94.9
    bare, full = build("pspnet_resnet50", supervision="none"), build("pspnet_resnet50")
    assert (count_parameters(bare), count_parameters(full)) == (46_716_373, 49_081_578)
    assert count_parameters(full.deployed()) == 46_716_373
    assert 178 < file_megabytes(bare) < 179  # printed: 178


@pytest.mark.parametrize(
    ("name", "fields"),
    [("fe_deeplab", {"enhancement": "none"}), ("dsc_deeplab", {"attention": "none", "context": "aspp"})],
)
@torch.no_grad()
def test_with_everything_off_the_papers_stand_on_deeplabv3plus(name: str, fields: dict[str, object]) -> None:
    base = create_model("deeplabv3plus", num_classes=21).eval()
    other = create_model(name, num_classes=21, **fields).eval()
    mine, theirs = base.state_dict(), other.state_dict()
    assert [x.shape for x in mine.values()] == [x.shape for x in theirs.values()]
    other.load_state_dict(dict(zip(theirs, mine.values(), strict=True)))
    images = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(0))
    assert torch.equal(base(images).logits, other(images).logits)
    assert torch.equal(base.logits(images), other.logits(images))


def test_operations_of_a_network_small_enough_to_count_by_hand() -> None:
    class Tiny(SegNetwork):
        num_classes, stride = 2, 2

        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.norm = torch.nn.BatchNorm2d(4)
            self.classifier = torch.nn.Conv2d(4, 2, 1)

        def forward(self, images: torch.Tensor):
            return self.classifier(torch.relu(self.norm(self.conv(images))))

    count = count_operations(Tiny(), (32, 64))
    assert count.macs == 16 * 32 * (4 * 27 + 2 * 4)
    assert count.norm_elements == count.relu_elements == 16 * 32 * 4
    assert count.gate_pooling == 0


def test_counting_leaves_the_network_as_it_was() -> None:
    network = create_model("affnet", num_classes=3).train()
    count_macs(network, (64, 64))
    assert network.training
    assert all(p.device.type == "cpu" for p in network.parameters())


def test_the_published_table_is_true() -> None:
    """After a change: python -m featherseg.models.costs > src/featherseg/app/models.json."""
    published = json.loads((files("featherseg.app") / "models.json").read_text())
    assert published == figures()
