"""A picture of any shape to a mask of its own size; names, files and folders to a Predictor; the ground floor alone."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import CLASSES, STRIDE, foreign_artefact, striped, write_network

import featherseg
from featherseg import hub
from featherseg.benchmark.graphs import AnyGraph
from featherseg.runtime import (
    Artefact,
    FeathersegError,
    InputRule,
    OnnxEngine,
    Predictor,
    label_scores,
    read_mask,
    resize,
    weights,
)
from featherseg.runtime.engines import BACKENDS, Backend
from featherseg.runtime.errors import first_line
from featherseg.runtime.predictor import prepare

RULES = [
    InputRule(),
    InputRule(size=(64, 96)),
    InputRule(size=(64, 96), fit="letterbox"),
    InputRule(size=(64, 96), fit="area"),
    InputRule(size=(16, 24)),  # below what networks take
]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "net.onnx")


def thirds(mask: np.ndarray) -> list[int]:
    """The label in the middle of each third."""
    return [int(mask[mask.shape[0] // 2, mask.shape[1] * part // 6]) for part in (1, 3, 5)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.fit}-{rule.size}")
@pytest.mark.parametrize("shape", [(64, 96), (65, 97), (200, 90), (33, 400), (480, 640)])
def test_masks_are_right_under_every_input_rule(tmp_path: Path, rule: InputRule, shape: tuple[int, int]) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=rule))
    prediction = predictor(striped(*shape))
    assert prediction.mask.shape == shape
    assert prediction.mask.dtype == np.uint8
    assert prediction.scores.dtype == np.float32
    assert prediction.scores.shape[0] == 3
    assert thirds(prediction.mask) == [0, 1, 2]
    if rule.size != (16, 24):  # three columns of scores are coarser than a tenth
        truth = striped(*shape).argmax(axis=2)
        assert (prediction.mask == truth).mean() > 0.9


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.fit}-{rule.size}")
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 4000), (31, 33), (500, 2)])
def test_pictures_of_any_shape(tmp_path: Path, rule: InputRule, shape: tuple[int, int]) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=rule))
    picture = np.full((*shape, 3), (20, 30, 220), np.uint8)
    assert (predictor(picture).mask == 2).mean() > 0.95


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.fit}-{rule.size}")
@pytest.mark.parametrize("shape", [(64, 96), (201, 90), (20, 400)])
def test_arrays_pictures_and_files_are_seen_alike(tmp_path: Path, rule: InputRule, shape: tuple[int, int]) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=rule))
    array = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = predictor(array)
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = np.ascontiguousarray(np.rot90(array, -1))
    Image.fromarray(turned).save(tmp_path / "turned.png", exif=exif)
    for source in (Image.fromarray(array), tmp_path / "a.png", tmp_path / "turned.png"):
        prediction = predictor(source)
        np.testing.assert_array_equal(prediction.scores, expected.scores)
        np.testing.assert_array_equal(prediction.mask, expected.mask)
        np.testing.assert_array_equal(prediction.image, array)
        assert prediction.overlay().tobytes() == expected.overlay().tobytes()
    assert expected.image is array
    prepared = predictor.prepare(tmp_path / "a.png")  # a call in three steps
    np.testing.assert_array_equal(predictor.label(prepared, predictor.engine(prepared.framed)).mask, expected.mask)


@pytest.mark.parametrize("rule", RULES[1:], ids=lambda rule: f"{rule.fit}-{rule.size}")
def test_a_draft_gives_a_mask_of_the_whole_size(tmp_path: Path, rule: InputRule) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=rule))
    Image.fromarray(striped(601, 900)).save(tmp_path / "a.jpg", quality=95)
    prepared = predictor.prepare(tmp_path / "a.jpg", decode="draft")
    full = predictor(tmp_path / "a.jpg")
    assert prepared.size == (601, 900)
    prediction = predictor.label(prepared, predictor.engine(prepared.framed))
    assert (prediction.mask == full.mask).mean() > 0.98
    for use in (prediction.overlay, lambda: prediction.image):
        with pytest.raises(FeathersegError, match="decoded as a draft"):
            use()


@pytest.mark.parametrize("fit", ["area", "letterbox"])
def test_a_draft_is_seen_at_the_size_that_the_whole_picture_would_be(
    tmp_path: Path, fit: Literal["area", "letterbox"]
) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=InputRule(size=(576, 768), fit=fit)))
    Image.fromarray(striped(2268, 3597)).save(tmp_path / "a.jpg")
    full, draft = (predictor.prepare(tmp_path / "a.jpg", decode=how) for how in ("full", "draft"))
    assert full.framed.shape == draft.framed.shape
    assert full.box == draft.box


def test_size_overrules_the_input_rule(tmp_path: Path) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=InputRule(size=(64, 96))))
    picture = striped(128, 160)
    assert predictor(picture).scores.shape == (3, 8, 12)
    assert predictor(picture, "own").scores.shape == (3, 16, 20)
    assert predictor(picture, size=(32, 40)).scores.shape == (3, 4, 5)
    for size in ("full", (0, 3)):
        with pytest.raises(FeathersegError, match="size"):
            predictor(picture, size)  # type: ignore[arg-type]


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_mask_is_label_scores_of_the_scores(tmp_path: Path, align_corners: bool) -> None:
    path = write_network(tmp_path / "net.onnx", rule=InputRule(size=(40, 56)), align_corners=align_corners)
    predictor = featherseg.load(path)
    picture = np.random.default_rng(0).integers(0, 256, (81, 111, 3), np.uint8)
    prediction = predictor(picture)
    expected = label_scores(prediction.scores, (81, 111), align_corners=align_corners)
    np.testing.assert_array_equal(prediction.mask, expected)


def test_a_letterboxed_mask_is_the_frame_s_crop(tmp_path: Path) -> None:
    """A picture that already has the box's size: the mask is the frame's labels, cropped."""
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", rule=InputRule(size=(64, 96), fit="letterbox")))
    picture = np.random.default_rng(0).integers(0, 256, (40, 96, 3), np.uint8)
    prediction = predictor(picture)
    framed, box = prepare(picture, predictor.artefact.input_rule)
    assert box == (12, 0, 40, 96)
    np.testing.assert_array_equal(framed[12:52], picture)
    np.testing.assert_array_equal(prediction.mask, label_scores(prediction.scores, (64, 96))[12:52])


@pytest.mark.parametrize(
    ("own", "expected"),
    [((100, 400), (96, 384)), ((360, 480), (480, 640)), ((1080, 1920), (416, 736)), ((1, 1), (544, 544))],
)
def test_area_keeps_aspect_and_number_of_pixels_as_near_as_multiples_of_32_allow(
    own: tuple[int, int], expected: tuple[int, int]
) -> None:
    size = (200, 200) if own == (100, 400) else (480, 640)
    framed, box = prepare(striped(*own), InputRule(size=size, fit="area"))
    assert framed.shape == (*expected, 3)
    assert box == (0, 0, *expected)


def test_a_prediction_shows_and_saves_itself(network: Path, tmp_path: Path) -> None:
    prediction = featherseg.load(network)(striped(64, 96))
    assert prediction.overlay().size == (96, 64)
    assert prediction.classes == CLASSES
    shares = prediction.shares()
    assert set(shares) == {"red", "green", "blue"}
    assert sum(shares.values()) == pytest.approx(1)
    prediction.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), prediction.mask)


def test_a_foreign_file_is_served_by_the_numpy_twin(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", foreign=True)
    with pytest.raises(FeathersegError, match="says nothing of its classes"):
        OnnxEngine(path)
    artefact = foreign_artefact()
    engine = OnnxEngine(path, artefact=artefact, threads=1)
    picture = striped(64, 96)
    fixed = OnnxEngine(write_network(tmp_path / "fixed.onnx", foreign=True, size=(32, 64)), artefact=artefact)
    assert Predictor(fixed, fixed.artefact)(picture).mask.shape == (64, 96)
    with pytest.raises(FeathersegError, match="32x64 only; got 64x96: give Predictor the engine's own"):
        Predictor(fixed, artefact)(picture)
    blocks = picture.reshape(8, 8, 12, 8, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(engine(picture), (blocks / 255 - 0.5) / 0.25, atol=1e-5)
    assert thirds(Predictor(engine, artefact)(picture).mask) == [0, 1, 2]


def with_outputs(path: Path, *names: str) -> Path:
    """The foreign network with one more output for every name; all are its scores."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(write_network(path, foreign=True, output="y"))
    for name in names:
        model.graph.node.append(onnx.helper.make_node("Identity", ["y"], [name]))
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
        model.graph.output.insert(0, value)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("names", "taken"), [((), "y"), (("logits", "aux"), "logits"), (("Output", "aux"), "Output"), (("aux",), None)]
)
def test_of_several_outputs_the_one_named_as_scores_are(
    tmp_path: Path, names: tuple[str, ...], taken: str | None
) -> None:
    path = with_outputs(tmp_path / "net.onnx", *names)
    for open_graph in (
        lambda: OnnxEngine(path, artefact=foreign_artefact()).output.name,
        lambda: AnyGraph(path).output,
    ):
        if taken is not None:
            assert open_graph() == taken
            continue
        with pytest.raises(FeathersegError, match=r"could be the scores; expected one, .* got aux, y: name it so"):
            open_graph()


def test_a_foreign_file_of_several_pictures_is_refused_on_opening(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = write_network(tmp_path / "net.onnx", foreign=True)
    model = onnx.load(path)
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, path)
    for open_graph in (lambda: OnnxEngine(path, artefact=foreign_artefact()), lambda: AnyGraph(path)):
        with pytest.raises(FeathersegError, match="takes 4 pictures at a time: export it with a batch of 1"):
            open_graph()


def test_an_artefact_for_a_file_that_has_its_own_is_refused(network: Path) -> None:
    with pytest.raises(FeathersegError, match="describes itself"):
        OnnxEngine(network, artefact=foreign_artefact())


@pytest.mark.parametrize("size", [512, (64, 64, 3), (64.7, 64.2), (0, 64)])
def test_a_size_is_two_whole_numbers(network: Path, size: Any) -> None:
    with pytest.raises(FeathersegError, match="two whole numbers of 1 or more; got"):
        featherseg.load(network)(striped(64, 96), size=size)


def test_a_graph_of_one_size_is_fed_that_size(tmp_path: Path) -> None:
    predictor = featherseg.load(write_network(tmp_path / "net.onnx", size=(64, 96)))
    assert predictor.artefact.input_rule == InputRule(size=(64, 96))
    assert predictor(striped(200, 301)).mask.shape == (200, 301)
    with pytest.raises(FeathersegError, match="64x96 only"):
        predictor(striped(200, 301), "own")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"output": "mask"}, "outputs; expected scores"),
        ({"metadata": "{}"}, "metadata"),
        ({"metadata": foreign_artefact().to_text(), "foreign": True}, "says nothing"),
    ],
)
def test_files_of_another_form_are_named(tmp_path: Path, options: dict[str, object], match: str) -> None:
    path = write_network(tmp_path / "net.onnx", **options)  # type: ignore[arg-type]
    with pytest.raises(FeathersegError, match=match) as caught:
        featherseg.load(path)
    assert "net.onnx" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 999])
def test_a_file_that_is_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(FeathersegError, match=r"net\.onnx") as caught:
        featherseg.load(tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)


def test_scores_of_another_number_of_classes_are_refused() -> None:
    predictor = Predictor(lambda image: np.zeros((2, 4, 4), np.float32), Artefact(classes=CLASSES, stride=STRIDE))
    with pytest.raises(FeathersegError, match="engine's scores"):
        predictor(striped(32, 32))


def test_names_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled, own, here, cache = (tmp_path / name for name in ("bundled", "own", "here", "cache"))
    monkeypatch.setattr(weights, "BUNDLED", bundled)
    monkeypatch.setenv("FEATHERSEG_WEIGHTS", str(own))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(FeathersegError, match="known names are none"):
        hub.load("tiny-rgb")

    places = [
        cache / "featherseg" / "tiny-rgb.onnx",
        here / "weights" / "tiny-rgb" / "tiny-rgb.onnx",
        own / "tiny-rgb.onnx",
        bundled / "tiny-rgb.onnx",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_network(place)
        assert weights.find("tiny-rgb").resolve() == place
    assert hub.load("tiny-rgb").classes == CLASSES
    assert [path.resolve() for path in weights.available()["tiny-rgb"]] == places[::-1]
    with pytest.raises(FeathersegError, match="did you mean 'tiny-rgb'"):
        hub.load("tiny-rbg")
    with pytest.raises(FeathersegError, match=r"expected a file \.safetensors"):
        hub.load("tiny-rgb", backend="torch")
    with pytest.raises(FeathersegError, match=r"expected a file \.xml.*: tiny-rgb\.xml is looked for in "):
        weights.find("tiny-rgb", [".xml"])
    (own / "tiny-rgb.safetensors").touch()
    with pytest.raises(FeathersegError, match="featherseg export tiny-rgb --to openvino writes one"):
        weights.find("tiny-rgb", [".xml"])


def test_a_run_directory_gives_its_best_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(FeathersegError, match="no trained network"):
        hub.locate(run)
    (run / "last.safetensors").touch()
    assert hub.locate(run) == run / "last.safetensors"
    (run / "best.safetensors").touch()
    assert hub.locate("run") == Path("run/best.safetensors")


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base install: the torch backend's package is not there."""
    monkeypatch.setitem(BACKENDS, "torch", Backend(".safetensors", "featherseg_has_no_such_package"))


def test_a_run_directory_has_an_exported_file_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").touch()
    (run / "run.onnx").touch()
    assert hub.locate(run) == run / "best.safetensors"  # the .onnx may be older
    assert hub.locate(run, "torch") == run / "best.safetensors"
    assert hub.locate(run, "onnxruntime") == run / "run.onnx"
    (run / "run.onnx").unlink()
    with pytest.raises(FeathersegError, match=r"no trained network that onnxruntime runs; expected run\.onnx"):
        hub.locate(run, "onnxruntime")


@pytest.mark.usefixtures("no_torch")
def test_a_run_directory_without_torch_gives_its_exported_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").touch()
    with pytest.raises(FeathersegError, match=r"best\.safetensors: needs the package .*pip install"):
        hub.load(run)
    write_network(run / "run.onnx")
    assert hub.load(run).classes == CLASSES


def test_a_weights_folder_is_a_path_too(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-rgb"
    folder.mkdir()
    write_network(folder / "tiny-rgb.onnx")
    assert hub.load(folder).classes == CLASSES


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("nowhere/net.onnx", {}, "no such file"),
        ("net.onnx", {"backend": "torch"}, r"backend torch runs \.safetensors"),
        ("net.onnx", {"backend": "tensorrt"}, "backend; expected one of auto, onnxruntime"),
        ("net.onnx", {"device": "tpu"}, "device; expected one of"),
        ("net.xml", {}, r"net\.(bin: there is no such file|xml: needs the package openvino)"),
        ("net.xml", {"device": "cuda"}, r"net\.xml: (OpenVINO runs on the CPU here|needs the package openvino)"),
        ("net.txt", {}, r"net\.txt: no network; expected a file ending in"),
        ("net.pte", {}, r"net\.pte: is run by ExecuTorch, in a program of its own; expected a file ending in"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, str], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.onnx")
    for empty in ("net.xml", "net.txt", "net.pte"):
        (tmp_path / empty).touch()
    with pytest.raises(FeathersegError, match=match):
        hub.load(name, **options)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_cut_openvino_file_is_said_in_words(tmp_path: Path, suffix: str) -> None:
    OpenVINOTarget = pytest.importorskip("featherseg.export.openvino").OpenVINOTarget
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    target, source = OpenVINOTarget(), write_network(tmp_path / "net.onnx")
    target.write(target.convert(onnx.load(source), "fp32"), OnnxEngine(source).artefact, tmp_path / "net.xml")
    damaged = (tmp_path / "net.xml").with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(FeathersegError, match="is not a file that OpenVINO can read") as caught:
        hub.load(tmp_path / "net.xml")
    assert ".cpp" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Exception from src/core.cpp:84:\nCheck 'a == b' failed at src/model.cpp:219:\nNo tag\n\n", "No tag"),
        ("\n  one\ntwo", "one"),
        ("Load model failed: at net.cc:7 with 3 inputs", "Load model failed: at net.cc:7 with 3 inputs"),
        ("src/core.cpp:84:", "RuntimeError"),
        ("", "RuntimeError"),
    ],
)
def test_of_a_library_s_error_the_line_that_says_something(text: str, said: str) -> None:
    assert first_line(RuntimeError(text)) == said


def test_the_ground_floor_needs_no_torch(network: Path, tmp_path: Path) -> None:
    Image.fromarray(striped(64, 96)).save(tmp_path / "a.png")
    program = (
        "import sys, featherseg, featherseg.runtime, featherseg.app.predict\n"
        f"assert featherseg.load({str(network)!r})({str(tmp_path / 'a.png')!r}).mask.shape == (64, 96)\n"
        "heavy = {'torch', 'torchvision', 'timm', 'scipy', 'onnx', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_public_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"load", "train", "evaluate", "create_model", "list_models"} <= set(dir(featherseg))
    assert featherseg.load is hub.load
    assert featherseg.runtime.resize is resize
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        featherseg.segment  # type: ignore[attr-defined]  # noqa: B018
    with monkeypatch.context() as patch:
        patch.setattr(featherseg, "MODULES", ("runtime", "attic"))  # a floor that is drawn and not built
        assert not hasattr(featherseg, "attic")
        assert "attic" not in dir(featherseg)
        assert "runtime" in dir(featherseg)
    assert dict(inspect.getmembers(featherseg))["load"] is hub.load
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())
    assert featherseg.__version__ == project["project"]["version"]


def test_a_checkpoint_and_its_run_directory_are_run_by_torch(tmp_path: Path) -> None:
    TorchEngine = pytest.importorskip("featherseg.models.engine").TorchEngine
    checkpoint = pytest.importorskip("featherseg.models.checkpoint")
    network = featherseg.create_model("fast_scnn", num_classes=3)
    artefact = Artefact(classes=CLASSES, input_rule=InputRule(size=(64, 96)), stride=network.stride)
    path = tmp_path / "run" / "best.safetensors"
    path.parent.mkdir()
    checkpoint.save_checkpoint(path, network.state_dict(), {"name": "fast_scnn"}, artefact)
    for name in (path, path.parent):
        predictor = featherseg.load(name, device="cpu")
        assert predictor.artefact == artefact
        assert predictor(striped(50, 70)).mask.shape == (50, 70)
    with pytest.raises(FeathersegError, match=r"backend onnxruntime runs \.onnx"):
        featherseg.load(path, backend="onnxruntime")
    exported = write_network(path.parent / "run.onnx")
    assert isinstance(featherseg.load(path.parent, device="cpu").engine, TorchEngine)
    engine = featherseg.load(path.parent, backend="onnxruntime").engine
    assert isinstance(engine, OnnxEngine)
    assert engine.path == str(exported)
