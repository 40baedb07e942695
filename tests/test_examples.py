"""The examples run as printed, on pictures made here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import striped, write_network

import featherseg
from featherseg.runtime.artefact import InputRule

FITS = ("stretch", "letterbox", "area")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
QUICK = ("epochs=1", "batch_size=2", "augment.crop_size=64x64", "input_rule.size=64x96", "workers=0", "device=cpu")


def run_example(name: str, *arguments: str | Path, cwd: Path) -> str:
    """What an example prints, started as its first lines say."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def import_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder data set: pictures of three stripes, four to train on and two to validate."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
        for index in range(count):
            picture = striped(64, 96)
            noisy = np.clip(picture + rng.normal(0, 9, picture.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "data" / "images" / split / f"{index}.png")
            mask = Image.fromarray(picture.argmax(axis=2).astype(np.uint8))
            mask.save(tmp_path / "data" / "masks" / split / f"{index}.png")
    (tmp_path / "data" / "classes.yaml").write_text("names: [red, green, blue]\n")
    return tmp_path / "data"


def test_predict(tmp_path: Path):
    network = write_network(tmp_path / "tiny.onnx")
    Image.fromarray(striped(48, 96)).save(tmp_path / "flag.png")
    printed = run_example("predict.py", "flag.png", network, cwd=tmp_path)
    assert "33.3%  green" in printed
    assert np.asarray(Image.open(tmp_path / "flag_mask.png")).max() == 2
    assert Image.open(tmp_path / "flag_overlay.png").size == (96, 48)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("rule", [InputRule(), *(InputRule(size=(64, 96), fit=fit) for fit in FITS)])
def test_another_program_gives_the_same_mask(tmp_path: Path, rule: InputRule, align_corners: bool):
    network = write_network(tmp_path / "tiny.onnx", rule=rule, align_corners=align_corners)
    pixels = np.random.default_rng(3).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    photo = Image.fromarray(pixels).resize((157, 111), Image.Resampling.BICUBIC)
    upright = Image.Exif()
    upright[0x0112] = 6  # lies on its side
    photo.save(tmp_path / "photo.png", exif=upright)
    import_example("without_featherseg").main(
        *(str(path) for path in (tmp_path / "photo.png", network, tmp_path / "mask.png"))
    )
    other, ours = np.asarray(Image.open(tmp_path / "mask.png")), featherseg.load(network)(tmp_path / "photo.png").mask
    assert other.shape == ours.shape == (157, 111)
    assert len(np.unique(ours)) == 3
    assert (other == ours).mean() > 0.999  # ties aside


def test_another_program_gives_the_same_mask_by_openvino(tmp_path: Path):
    openvino = pytest.importorskip("openvino")
    network = write_network(tmp_path / "tiny.onnx", rule=InputRule(size=(64, 96), fit="area"))
    model = openvino.Core().read_model(network)
    model.set_rt_info(featherseg.load(network).artefact.to_text(), "featherseg")
    openvino.save_model(model, tmp_path / "tiny.xml")
    Image.fromarray(striped(50, 97)).save(tmp_path / "photo.png")
    printed = run_example("without_featherseg.py", "photo.png", "tiny.xml", "mask.png", cwd=tmp_path)
    assert "green" in printed
    other = np.asarray(Image.open(tmp_path / "mask.png"))
    assert (other == featherseg.load(network)(tmp_path / "photo.png").mask).mean() > 0.999


def test_train_folder(folder: Path, tmp_path: Path):
    printed = run_example("train_folder.py", folder, "run", *QUICK, cwd=tmp_path)
    assert "mean IoU over 2 pictures" in printed
    assert Path(tmp_path, printed.splitlines()[-1]) == tmp_path / "run" / "overlay.png"
    assert Image.open(tmp_path / "run" / "overlay.png").size == (96, 64)


def test_new_model(folder: Path, tmp_path: Path):
    printed = run_example("new_model.py", folder, "run", *QUICK, "model.attention=none", cwd=tmp_path)
    assert "(2, 3, 9, 13) scores" in printed
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_the_bundled_picture_is_the_rendered_one():
    street = import_example("render_street")
    image, mask = street.render()
    assert image.shape == (480, 640, 3)
    assert mask.shape == (480, 640)
    shares = np.bincount(mask.ravel(), minlength=256) / mask.size
    for label in (street.SKY, street.BUILDING, street.ROAD, street.PAVEMENT, street.TREE, street.CAR):
        assert shares[label] > 0.02
    bundled = np.asarray(Image.open(street.BUNDLED).convert("RGB"), float)
    assert np.abs(bundled - image).mean() < 4  # JPEG's loss
    assert street.BUNDLED.stat().st_size < 120_000
