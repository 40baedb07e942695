"""Learning from a teacher: its divergence by hand, what of it moves the student, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from test_training import quick_run
from torch import Tensor

from featherseg.models import create_model
from featherseg.models.checkpoint import save_checkpoint
from featherseg.runtime.artefact import Artefact, Preprocessing
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.training import Distill, train
from featherseg.training.distillation import Teacher, between_grids

CLASSES = Classes(names=("background", "cat", "dog"))


def teacher_file(path: Path, classes: Classes = CLASSES, preprocessing: Preprocessing = Preprocessing()) -> Path:
    torch.manual_seed(0)
    network = create_model("fast_scnn", num_classes=len(classes))
    artefact = Artefact(classes=classes, preprocessing=preprocessing, stride=network.stride)
    save_checkpoint(path, network.state_dict(), {"name": "fast_scnn"}, artefact)
    return path


def asked(path: Path, **setting: float) -> Teacher:
    return Teacher(Distill(teacher=str(path), **setting), CLASSES, align_corners=False, device=torch.device("cpu"))


def pictures(seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 3, 64, 96), np.uint8))


def test_the_loss_is_the_divergence_by_hand(tmp_path: Path) -> None:
    own = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    path = teacher_file(tmp_path / "teacher.safetensors", preprocessing=own)
    teacher = asked(path, weight=0.5, temperature=2.0)
    network = create_model("fast_scnn", num_classes=3)
    network.load_state_dict(load_file(path))
    images = pictures()
    normal = np.stack([own(image)[0] for image in images.permute(0, 2, 3, 1).numpy()])  # numpy's twin
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(normal)).logits.double().numpy()
    student = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    given = student.double().numpy()
    p, q = (np.exp(x / 2) / np.exp(x / 2).sum(1, keepdims=True) for x in (wanted, given))
    expected = 0.5 * 2.0**2 * (p * np.log(p / q)).sum(1).mean()
    assert float(teacher.loss(student, images)) == pytest.approx(expected, rel=1e-4)


def test_a_student_on_a_finer_grid_is_compared_there(tmp_path: Path) -> None:
    teacher = asked(teacher_file(tmp_path / "teacher.safetensors"))
    images = pictures()
    same = torch.nn.functional.interpolate(teacher(images), size=(16, 24), mode="bilinear")
    assert float(teacher.loss(same, images)) == pytest.approx(0, abs=1e-6)
    assert float(teacher.loss(torch.zeros(2, 3, 16, 24), images)) > 1e-4


@pytest.mark.parametrize("align_corners", [False, True])
def test_grids_that_lie_alike_are_resized_as_torch_does(align_corners: bool) -> None:
    scores = torch.randn(2, 3, 8, 13)
    rows, columns = (
        between_grids(old, new, 100, align_corners, align_corners, scores.device) for old, new in ((8, 16), (13, 5))
    )
    expected = F.interpolate(scores, size=(16, 5), mode="bilinear", align_corners=align_corners)
    assert torch.allclose(rows @ (scores @ columns.T), expected, atol=1e-5)


@pytest.mark.parametrize("corners", [(False, True), (True, False)])
def test_grids_that_lie_otherwise_meet_at_the_same_pixels(corners: tuple[bool, bool]) -> None:
    """Scores that are their own pixel's column give, at the student's places, theirs."""
    old, new, pixels = 17, 9, 64
    theirs, wanted = (
        torch.linspace(0, pixels - 1, count) if aligned else (torch.arange(count) + 0.5) * pixels / count - 0.5
        for count, aligned in ((old, corners[0]), (new, corners[1]))
    )
    given = between_grids(old, new, pixels, *corners, torch.device("cpu")) @ theirs
    inside = (wanted >= theirs[0]) & (wanted <= theirs[-1])
    assert torch.allclose(given[inside], wanted[inside], atol=1e-4)
    assert inside.sum() >= new - 2


def test_a_student_follows_its_teacher_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    """On new pictures it is nearer to the teacher than one that learned from the labels alone."""
    path = teacher_file(tmp_path / "teacher.safetensors")
    before, held = path.read_bytes(), load_file(path)
    words = (f"distill.teacher={path}", "distill.weight=1", "epochs=7", "optim.lr=0.005", "ema=0", "val_every=7")
    folder = train(quick_run(tmp_path, "model=fast_scnn", *words))
    assert path.read_bytes() == before
    assert all(torch.equal(value, held[name]) for name, value in load_file(path).items())
    plain = train(quick_run(tmp_path, "model=fast_scnn", *words[2:], f"out={tmp_path / 'plain'}"))
    teacher = asked(path)
    distances = []
    for run in (folder, plain):
        student = create_model("fast_scnn", num_classes=3)
        student.load_state_dict(load_file(run / "last.safetensors"))
        with torch.no_grad():
            logits = student.eval()(teacher.normalise(pictures(3))).logits
        distances.append(float(teacher.loss(logits, pictures(3))))
    assert distances[0] < 0.5 * distances[1]


def test_a_teacher_of_other_classes_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = teacher_file(tmp_path / "teacher.safetensors", Classes(names=("background", "dog", "cat")))
    with pytest.raises(FeathersegError, match=r"distill\.teacher=.*background, cat, dog.*background, dog, cat"):
        train(quick_run(tmp_path, f"distill.teacher={path}"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("distill.weight=-1", r"distill\.weight; expected 0 or more"),
        ("distill.temperature=0", r"distill\.temperature; expected above 0"),
        ("distill.teacher=nowhere.safetensors", "nowhere"),
        ("distill.teach=x", "did you mean"),
        ("distill.weight=2", r"distill; expected distill\.teacher"),
    ],
)
def test_settings_of_no_use_are_refused(word: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match=message):
        train(quick_run(tmp_path, word))
