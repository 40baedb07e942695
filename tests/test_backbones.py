"""Backbones: the table of MobileNetV2's strides, torchvision as the second writing, weights by name and by position."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from featherseg.backbones import BACKBONES, Features, create_encoder
from featherseg.models.costs import count_parameters
from featherseg.recipes import RECIPES
from featherseg.runtime.errors import FeathersegError
from featherseg.training.progress import Reporter

SIZE = (65, 97)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def shaken(module: nn.Module) -> nn.Module:
    """Random batch-norm statistics, so that a mix-up among them shows."""
    torch.manual_seed(5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.uniform_(0.5, 1.5)
            part.bias.normal_(0, 0.1)
    return module.eval()


@pytest.fixture(scope="module")
def mobilenet() -> nn.Module:
    from torchvision.models import mobilenet_v2

    torch.manual_seed(4)
    return shaken(mobilenet_v2(weights=None))


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_widths_and_strides_are_what_the_encoder_says(name: str, output_stride: int) -> None:
    encoder = create_encoder(name, output_stride=output_stride).eval()
    features = encoder(noise(1, 3, *SIZE))
    assert isinstance(features, Features)
    assert encoder.strides.c5 == output_stride
    for x, width, stride in zip(features, encoder.channels, encoder.strides, strict=True):
        assert x.shape[1:] == (width, *(math.ceil(side / stride) for side in SIZE))
    assert (encoder.strides.c2, encoder.channels.c5) == (4, features.c5.shape[1])


def test_mobilenetv2_has_the_parameters_of_its_first_eighteen_layers() -> None:
    assert count_parameters(create_encoder("mobilenetv2")) == 1_811_712


@pytest.mark.parametrize(
    ("output_stride", "shapes", "dilations"),
    [
        # width and stride of c2..c5; dilation of the depth-wise convolutions of layers 1..17
        (32, [(24, 4), (32, 8), (96, 16), (320, 32)], [1] * 17),
        (16, [(24, 4), (32, 8), (96, 16), (320, 16)], [1] * 14 + [2] * 3),
        (8, [(24, 4), (32, 8), (96, 8), (320, 8)], [1] * 7 + [2] * 7 + [4] * 3),
    ],
)
def test_mobilenetv2_dilates_from_the_block_after_the_one_that_no_longer_strides(
    output_stride: int, shapes: list[tuple[int, int]], dilations: list[int]
) -> None:
    with torch.device("meta"):
        encoder = create_encoder("mobilenetv2", output_stride=output_stride).eval()
    features = encoder(torch.zeros(1, 3, 512, 512, device="meta"))
    assert [(x.shape[1], 512 // x.shape[2]) for x in features[1:]] == shapes
    spatial = [x for x in encoder.modules() if isinstance(x, nn.Conv2d) and x.kernel_size == (3, 3)]
    assert [x.dilation[0] for x in spatial[1:]] == dilations
    assert all(x.groups == x.in_channels for x in spatial[1:])
    pointwise = [x for x in encoder.modules() if isinstance(x, nn.Conv2d) and x.kernel_size == (1, 1)]
    assert {x.dilation for x in pointwise} == {(1, 1)}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@torch.no_grad()
def test_torchvision_weights_of_mobilenetv2_load_by_position(mobilenet: nn.Module, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    state = mobilenet.state_dict()
    assert len(state) == 314
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)  # sorts by name
    encoder = create_encoder("mobilenetv2", pretrained=str(path)).eval()
    images = noise(2, 3, *SIZE)
    expected, x = {}, images
    for index, layer in enumerate(mobilenet.features[:18]):
        expected[index] = x = layer(x)
    features = encoder(images)
    for index, feature in ((1, features.c1), (3, features.c2), (6, features.c3), (13, features.c4), (17, features.c5)):
        torch.testing.assert_close(feature, expected[index], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_shufflenetv2_is_torchvisions(tmp_path: Path) -> None:
    from torchvision.models import shufflenet_v2_x1_0

    reference = shaken(shufflenet_v2_x1_0(weights=None))
    torch.save(reference.state_dict(), tmp_path / "shufflenet.pth")
    encoder = create_encoder("shufflenetv2", pretrained=str(tmp_path / "shufflenet.pth")).eval()
    images = noise(1, 3, *SIZE)
    c2 = reference.maxpool(reference.conv1(images))
    assert torch.equal(encoder(images).c5, reference.stage4(reference.stage3(reference.stage2(c2))))


@pytest.mark.parametrize(("output_stride", "dilations"), [(32, [1, 1, 1]), (16, [1, 1, 2]), (8, [1, 2, 4])])
def test_shufflenetv2_turns_strides_into_dilation(output_stride: int, dilations: list[int]) -> None:
    body = create_encoder("shufflenetv2", output_stride=output_stride).body
    last = [stage[-1].branch2[3].dilation[0] for stage in (body.stage2, body.stage3, body.stage4)]
    assert last == dilations
    first = [stage[0].branch2[3].dilation[0] for stage in (body.stage2, body.stage3, body.stage4)]
    assert first == [1, *dilations[:-1]]


@pytest.mark.parametrize("name", ["timm:resnet18", "xception65"])
@torch.no_grad()
def test_timm_weights_load_by_name_also_where_timm_renames(name: str, tmp_path: Path) -> None:
    import timm

    whole = timm.create_model(name.removeprefix("timm:"), pretrained=False)
    save_file(whole.state_dict(), tmp_path / "weights.safetensors")
    encoder = create_encoder(name, pretrained=str(tmp_path / "weights.safetensors")).eval()
    images = noise(1, 3, 64, 64)
    torch.testing.assert_close(encoder(images).c5, whole.eval().forward_features(images), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_checkpoint_that_wraps_its_state_loads(tmp_path: Path) -> None:
    first = create_encoder("timm:resnet18")
    state = {f"module.{key}": x for key, x in first.body.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "checkpoint.pth")
    second = create_encoder("timm:resnet18", pretrained=str(tmp_path / "checkpoint.pth"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_how_many_tensors_were_found_is_said(mobilenet: nn.Module, tmp_path: Path, caplog) -> None:
    torch.save(mobilenet.state_dict(), tmp_path / "weights.pth")
    with caplog.at_level("INFO", logger="featherseg"):
        create_encoder("mobilenetv2", pretrained=str(tmp_path / "weights.pth"))
    assert "255 of the backbone's 255 tensors" in caplog.text


def test_a_training_says_what_was_taken(mobilenet: nn.Module, tmp_path: Path, capsys) -> None:
    torch.save(mobilenet.state_dict(), tmp_path / "weights.pth")
    reporter = Reporter(RECIPES["hybrid_fusion_folder"]())
    with reporter.listening():
        create_encoder("mobilenetv2", pretrained=str(tmp_path / "weights.pth"))
    assert capsys.readouterr().err == ""  # whatever goes wrong before the epochs begin is told alone
    reporter.release()
    assert (
        capsys.readouterr().err == f"model.pretrained={tmp_path}/weights.pth: 255 of the backbone's 255 tensors taken\n"
    )


def refusal(name: str, **fields: object) -> str:
    with pytest.raises(FeathersegError) as caught:
        create_encoder(name, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_weights_are_refused_in_one_line(mobilenet: nn.Module, tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pth")
    torch.save(mobilenet.state_dict(), path)
    assert "of which 0 match:" in refusal("timm:resnet18", pretrained=path)
    assert "has shape" in refusal("timm:mobilenetv2_050", pretrained=path)
    torch.save({key: x for key, x in mobilenet.state_dict().items() if "features.17" not in key}, path)
    assert "expected the 255 tensors" in refusal("mobilenetv2", pretrained=path)
    torch.save([1, 2], path)
    assert "got 0 tensors" in refusal("mobilenetv2", pretrained=path)
    assert "no such file" in refusal("mobilenetv2", pretrained=str(tmp_path / "absent.pth"))
    (tmp_path / "text.safetensors").write_text("no tensors here")
    assert "cannot be read" in refusal("mobilenetv2", pretrained=str(tmp_path / "text.safetensors"))


@pytest.mark.parametrize(
    ("name", "spoil", "what"),
    [
        ("features.0.0.weight", lambda x: x * torch.nan, "values that are not finite"),
        ("features.1.conv.1.weight", lambda x: x * 0, "zeros alone"),
        ("features.0.1.running_var", lambda x: -1 - x, "variances below 0"),
        ("features.0.0.weight", lambda x: (100 * x).to(torch.int8), "torch.int8 without a scale"),
    ],
)
def test_weights_that_fit_but_are_damaged_are_refused(
    mobilenet: nn.Module, tmp_path: Path, name: str, spoil: Callable[[Tensor], Tensor], what: str
) -> None:
    weights = mobilenet.state_dict()
    torch.save(weights | {name: spoil(weights[name])}, tmp_path / "weights.pth")
    message = refusal("mobilenetv2", pretrained=str(tmp_path / "weights.pth"))
    assert f"got {what}" in message
    assert "weights.pth: " in message


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    assert "cannot be read" in refusal("mobilenetv2", pretrained=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_imagenet_without_network_ends_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name in ("mobilenetv2", "shufflenetv2"):
        message = refusal(name, pretrained="imagenet")
        assert "cannot be downloaded" in message
        assert "set model.pretrained=PATH" in message


def test_imagenet_takes_the_cached_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = create_encoder("mobilenetv1")
    save_file(first.body.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *args, **kwargs: str(tmp_path / "model.safetensors")
    )
    second = create_encoder("mobilenetv1", pretrained="imagenet")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "output_stride", "words"),
    [
        ("mobilenetv3", 16, ("model.backbone", "did you mean 'mobilenetv2'?")),
        ("timm:resnt18", 32, ("timm model", "did you mean 'resnet18'?")),
        ("timm:ghostnet_100", 16, ("timm:ghostnet_100", "no dilation", "model.output_stride=32")),
        ("timm:repvit_m1", 16, ("timm:repvit_m1", "no dilation", "model.output_stride=32")),
        ("timm:convnext_atto", 32, ("timm:convnext_atto", "five stages", "take a listed backbone")),
        ("timm:vit_tiny_patch16_224", 32, ("five stages", "take a listed backbone")),
    ],
)
def test_backbones_that_do_not_fit_are_refused(name: str, output_stride: int, words: tuple[str, ...]) -> None:
    message = refusal(name, output_stride=output_stride)
    assert all(word in message for word in words), message


def test_importing_the_backbones_does_not_import_timm() -> None:
    import subprocess
    import sys

    code = "import sys, featherseg.models; sys.exit('timm' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
