"""`featherseg benchmark`: who is timed when, what is counted, that all tails give the same labels. No time decides."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from test_cli import BASE_INSTALL
from tiny_onnx import CLASSES, STRIDE, striped, write_network

from featherseg.app.cli import main
from featherseg.benchmark import chart, limits, measuring, torch_subject, workshop
from featherseg.benchmark.cases import Case, cases_of
from featherseg.benchmark.contest import Contestant
from featherseg.benchmark.counting import Counts, count_graph, macs_of
from featherseg.benchmark.graphs import AnyGraph
from featherseg.benchmark.layers import collected, layers_of, openvino_macs, precision_of, shares
from featherseg.benchmark.plan import Candidate, Plan
from featherseg.benchmark.street import boundary_cells, street_scores
from featherseg.benchmark.tables import report_markdown, report_text
from featherseg.benchmark.tails import numpy_labels, torch_labels, write_with_tail
from featherseg.benchmark.timing import SHORT_MS, Lap, Race, run_race, summary
from featherseg.benchmark.workshop import Workshop
from featherseg.export.openvino import OpenVINOTarget
from featherseg.hub import load
from featherseg.models import create_model
from featherseg.models.checkpoint import save_checkpoint
from featherseg.models.costs import BytesMoved, count_bytes_moved, count_macs
from featherseg.models.engine import stripped
from featherseg.runtime.artefact import Artefact, InputRule
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores
from featherseg.runtime.mask_output import add_mask
from featherseg.runtime.pixels import decoded
from featherseg.runtime.weights import BUNDLED

SIZE = (64, 96)
QUICK = Race(rounds=2, pause=0.0)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GEMM_SIDE", 64)
    monkeypatch.setattr(limits, "COPY_BYTES", 1 << 16)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of ours, a foreign one, and a picture."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.onnx")
    write_network(tmp_path / "foreign.onnx", foreign=True, output="out")
    Image.fromarray(striped(50, 80)).save(tmp_path / "street.png")
    return tmp_path


def case_of(text: str, folder: Path, **settings: Any) -> Case:
    (case,), left_out = cases_of(Plan(candidates=(text,), sizes=(SIZE,), threads=(1,), **settings), Workshop(folder))
    assert left_out == []
    return case


def write_checkpoint(path: Path, rule: InputRule) -> None:
    """Fast-SCNN with random weights."""
    torch.manual_seed(0)
    network = create_model("fast_scnn", num_classes=3)
    artefact = Artefact(classes=CLASSES, input_rule=rule, stride=network.stride)
    save_checkpoint(path, network.state_dict(), {"name": "fast_scnn"}, artefact)


# --- turns ---


class Runner:
    """A contestant that notes when it is called."""

    def __init__(self, name: str, total: float, calls: list[str]) -> None:
        self.name, self.total, self.calls = name, total, calls

    def __call__(self) -> Lap:
        self.calls.append(self.name)
        return {"network": 1.0, "total": self.total}


def calls_of(seed: int, rounds: int = 8) -> list[str]:
    calls: list[str] = []
    names = ("slow", "slower", "short")
    runners = [Runner(name, 1.0 if name == "short" else SHORT_MS, calls) for name in names]
    laps = run_race(runners, Race(rounds=rounds, seed=seed, pause=0.0), between=lambda: calls.append("|"))
    assert [len(own) for own in laps] == [rounds] * 3
    return calls


def test_every_round_has_one_turn_of_each_in_a_new_order() -> None:
    warm_ups, *rounds = "".join(f"{call} " for call in calls_of(0)).split("| ")
    assert sorted(set(warm_ups.split())) == ["short", "slow", "slower"]
    for turns in rounds:
        assert sorted(turns.split()) == ["short", "short", "slow", "slower"]  # short ones are called once before
        assert "short short" in turns
    assert len(set(rounds)) > 1
    assert calls_of(0) == calls_of(0) != calls_of(1)


def test_a_race_over_seconds_has_its_fewest_rounds() -> None:
    (laps,) = run_race([Runner("a", SHORT_MS, [])], Race(seconds=1e-9, pause=0.0))
    assert len(laps) == 3
    assert summary([{"total": float(value)} for value in range(11)]) == {"total": {"p50": 5.0, "p90": 9.0, "min": 0.0}}


# --- counts ---


def test_macs_and_bytes_of_a_graph_by_hand(here: Path) -> None:
    """Cast, transpose, mean over 8x8 blocks, 1x1 convolution 3 -> 3: every one reads and writes."""
    pixels, cells = 3 * SIZE[0] * SIZE[1], 3 * (SIZE[0] // 8) * (SIZE[1] // 8)
    pool, conv = 4 * (pixels + cells), 4 * (cells + 9 + cells)
    cast, transpose = pixels + 4 * pixels, 4 * (pixels + pixels)
    assert count_graph("net.onnx", SIZE) == Counts(macs=3 * cells, bytes_moved=cast + transpose + pool + conv)
    assert count_graph("foreign.onnx", SIZE) == Counts(
        macs=3 * cells, bytes_moved=pool + conv
    )  # Identity moves nothing


def test_counts_in_8_bits_by_hand(tmp_path: Path) -> None:
    """Transpose, 3x3 convolution 3 -> 4 in 8 bits, back to float; scales and zero points are weights, too."""
    make, kinds, pixels = onnx.helper.make_node, onnx.TensorProto, SIZE[0] * SIZE[1]
    weights = {
        "scale": np.float32(0.1), "zero": np.uint8(0), "w": np.ones((4, 3, 3, 3), np.int8), "w_zero": np.int8(0),
    }  # fmt: skip
    quantised = ["nchw", "scale", "zero", "w", "scale", "w_zero", "scale", "zero"]
    nodes = [
        make("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        make("QLinearConv", quantised, ["q"], pads=[1] * 4),
        make("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "int8",
        [onnx.helper.make_tensor_value_info("image", kinds.UINT8, [1, "H", "W", 3])],
        [onnx.helper.make_tensor_value_info("scores", kinds.FLOAT, [1, 4, "h", "w"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, tmp_path / "int8.onnx")
    transpose, conv, back = 6 * pixels, 7 * pixels + 4 * 27 + 3 * 4 + 3, 4 * pixels + 5 + 16 * pixels
    assert count_graph(tmp_path / "int8.onnx", SIZE) == Counts(macs=108 * pixels, bytes_moved=transpose + conv + back)


@pytest.mark.parametrize(
    ("kind", "inputs", "result", "macs"),
    [
        ("Conv", [[1, 8, 5, 5], [16, 4, 3, 3], [16]], [1, 16, 5, 5], 16 * 25 * 4 * 9),
        ("QLinearConv", [[1, 8, 5, 5], [], [], [16, 8, 1, 1], [16]], [1, 16, 5, 5], 16 * 25 * 8),
        ("ConvTranspose", [[1, 8, 5, 5], [8, 6, 2, 2]], [1, 6, 10, 10], 8 * 25 * 6 * 4),
        ("MatMul", [[2, 3, 5, 7], [7, 11]], [2, 3, 5, 11], 6 * 5 * 11 * 7),
        ("Gemm", [[7, 5], [7, 11]], [5, 11], 5 * 11 * 7),  # the first one taken transposed
        ("MatMul", [[7], [7, 11]], [11], 7 * 11),
        ("Add", [[1, 8], [1, 8]], [1, 8], 0),
    ],
)
def test_macs_of_an_operation(kind: str, inputs: list[list[int]], result: list[int], macs: int) -> None:
    described = {"input_type_shape": [{"float": shape} for shape in inputs], "output_type_shape": [{"float": result}]}
    assert macs_of({"op_name": kind, **described}) == macs


def test_the_graph_and_the_network_have_the_same_macs() -> None:
    """But for what the file writes otherwise: AFFNet's three pools scaled, the first in a sum with zeros."""
    network = stripped(create_model("affnet", num_classes=11))
    places = [(SIZE[0] >> level) * (SIZE[1] >> level) for level in (1, 2, 3)]
    added = (3 * 27 + 16 * 3) * places[0] + 16 * places[1] + 32 * places[2]
    assert count_graph(BUNDLED / "affnet-camvid.onnx", SIZE).macs == count_macs(network, SIZE) + added


# --- tails ---


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((5, 8, 12), (64, 96)), ((3, 7, 9), (50, 31)), ((2, 1, 4), (9, 5))])
def test_the_usual_tail_gives_the_labels_of_label_scores(
    shape: tuple[int, int, int], size: tuple[int, int], align_corners: bool
) -> None:
    scores = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    expected = label_scores(scores, size, align_corners=align_corners)
    for tail in (numpy_labels, partial(torch_labels, threads=1)):
        labels = tail(scores, size, align_corners=align_corners)
        assert labels.dtype == np.uint8
        assert (labels != expected).mean() <= 1 / expected.size  # a tie within rounding


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_tail_in_the_graph_gives_the_same_labels(here: Path, align_corners: bool, has_mask: bool) -> None:
    write_network(here / "own.onnx", align_corners=align_corners)
    if has_mask:  # as export --mask has it
        model = onnx.load("own.onnx")
        add_mask(model, align_corners=align_corners)
        onnx.save(model, "own.onnx")
    picture = np.random.default_rng(5).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    write_with_tail(here / "own.onnx", here / "labels.onnx", SIZE, align_corners=align_corners)
    graph, scores = AnyGraph("labels.onnx"), AnyGraph("own.onnx")
    assert (graph.gives, scores.gives) == ("labels", "scores")
    labels = graph(graph.input.value(picture))
    expected = label_scores(scores(scores.input.value(picture)), SIZE, align_corners=align_corners)
    assert (labels != expected).mean() < 1e-3


def test_all_tails_of_one_network(here: Path) -> None:
    masks = []
    for tail in ("exact", "plain", "graph"):
        contestant = Contestant(case_of(f"net.onnx,tail={tail}", here), here / "street.png")
        lap = contestant()
        assert lap.keys() == {"decode", "prepare", "network", "labels", "total", "processor"}
        assert lap["total"] == pytest.approx(sum(lap[stage] for stage in ("decode", "prepare", "network", "labels")))
        assert contestant.mask.shape == (50, 80)  # of the picture
        masks.append(contestant.mask)
    assert (masks[0] == masks[1]).all()
    assert (masks[0] == masks[2]).mean() > 0.95  # labels of the network's size, brought to the picture's


@pytest.mark.parametrize("rule", [InputRule(size=SIZE, fit="letterbox"), InputRule(size=(96, 64), fit="letterbox")])
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_a_contestant_gives_the_mask_that_a_predictor_gives(here: Path, suffix: str, rule: InputRule) -> None:
    """At the rule's own size as the rule has it, at another one stretched, as where a Predictor is told a size."""
    write_network(here / "own.onnx", rule=rule)
    write_checkpoint(here / "own.safetensors", rule)
    contestant, predictor = Contestant(case_of(f"own{suffix}", here), here / "street.png"), load(f"own{suffix}", "cpu")
    size = None if rule.size == SIZE else SIZE
    prepared = predictor.prepare(here / "street.png", size)
    value = contestant.subject.prepare(decoded(here / "street.png"))
    assert contestant.subject.box == prepared.box
    assert np.array_equal(np.asarray(value).reshape(prepared.framed.shape), prepared.framed)
    contestant()
    assert (contestant.mask == predictor(here / "street.png", size).mask).all()


def test_a_picture_stays_with_pillow_until_it_is_resized(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contestant = Contestant(case_of("net.onnx", here), here / "street.png")
    seen: list[object] = []
    prepare = contestant.subject.prepare
    monkeypatch.setattr(contestant.subject, "prepare", lambda picture: seen.append(picture) or prepare(picture))
    contestant()
    assert isinstance(seen[0], Image.Image)


def test_the_street_has_boundaries_as_a_street_has() -> None:
    assert 0.02 < boundary_cells(street_scores((19, 64, 128))) < 0.2
    assert boundary_cells(np.zeros((3, 8, 8), np.float32)) == 0


# --- cases ---


def test_what_one_types() -> None:
    candidate = Candidate.parse("affnet,fusion=ewa,tail=plain,presence=true,depth=3")
    assert (candidate.what, candidate.tail) == ("affnet", "plain")
    assert candidate.fields == {"fusion": "ewa", "presence": True, "depth": 3}


def test_the_grid_leaves_out_what_cannot_be_and_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(
        candidates=("net.onnx", "affnet"), sizes=(SIZE, (32, 32)), backends=("onnxruntime", "torch"), threads=(1, 2),
        batches=(1, 4), modes=("eager", "cudagraph"),
    )  # fmt: skip
    made = Workshop(here)
    monkeypatch.setattr(made, "onnx", lambda network: here / "net.onnx")
    cases, left_out = cases_of(plan, made)
    rows = [(case.name, case.backend, case.mode, case.batch) for case in cases]
    assert len(rows) == 2 * 2 * 4  # sizes, threads; each of these:
    assert set(rows) == {
        ("net.onnx", "onnxruntime", "", 1), ("affnet", "onnxruntime", "", 1),
        ("affnet", "torch", "eager", 1), ("affnet", "torch", "eager", 4),
    }  # fmt: skip
    said = "\n".join(left_out)
    for words in ("net.onnx: backend torch runs .safetensors", "affnet on onnxruntime: batch", "mode cudagraph"):
        assert words in said
    for case in cases:
        assert Case.from_json(json.loads(json.dumps(case.to_json()))) == case


def test_a_file_of_one_size_is_left_out_at_others(here: Path) -> None:
    for name, foreign in (("foreign.onnx", True), ("own.onnx", False)):
        write_network(here / name, foreign=foreign, size=(32, 32))
        cases, left_out = cases_of(Plan(candidates=(name,), sizes=(SIZE, (32, 32)), threads=(1,)), Workshop(here))
        assert [case.size for case in cases] == [(32, 32)]
        assert left_out == [
            f"{name} on onnxruntime: takes pictures of 32x32 only; got 64x96: benchmark it at --size 32x32"
        ]


def test_a_wrong_name_stops_before_anything_is_exported(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Workshop(here)
    monkeypatch.setattr(made, "onnx", lambda network: pytest.fail("exported"))
    for word in ("afnet", "affnet,fusion=ewaa"):
        with pytest.raises(FeathersegError, match="did you mean"):
            cases_of(Plan(candidates=("affnet", word), sizes=(SIZE,)), made)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["afnet"], "did you mean 'affnet'?"),
        (["gone.onnx"], "gone.onnx: there is no such file"),
        (["net.onnx,tail=quick"], "expected one of exact, plain, graph"),
        (["net.onnx,plain"], "expected key=value"),
        (["net.onnx,fusion=ewa"], "expected tail=... alone"),
        (["affnet,fusion=ewaa"], "did you mean 'ewa'?"),
        (["net.onnx", "--backend", "torch"], "backend torch runs .safetensors files"),
        (["net.onnx", "--precision", "bf16"], "an exported file has its own precision"),
        (["net.onnx", "--mode", "compiled"], "modes compiled are torch's"),
        (["net.onnx", "--batch", "2"], "batch; expected 1"),
        (["net.onnx", "--classes", "300"], "300 classes: trained networks and files have their own"),
        (["foreign.onnx,tail=graph"], "foreign.onnx: tail graph is for files of featherseg"),
        (["fixed.onnx"], "fixed.onnx on onnxruntime: takes pictures of 32x32 only; got 64x96: benchmark it at --size"),
        (["net.onnx", "--picture", "gone.png"], "gone.png"),
        (["street.png"], "street.png: no network"),
        (["net.onnx", "--out", "street.png/report"], "expected a folder"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_network(here / "fixed.onnx", foreign=True, size=(32, 32))
    assert main(["benchmark", *words, "--size", "64x96", "--rounds", "1"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


@pytest.mark.parametrize(
    "option",
    [["--size", "own"], ["--size", "96"], ["--size", "16x64"], ["--threads", "0"], ["--seconds", "0"]],
)
def test_a_wrong_value_is_one_line(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "affnet-camvid", "--size", "64x96", *option])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert ("expected HEIGHTxWIDTH of 32 and more" in err) == (option[0] == "--size")


# --- limits ---


def test_the_int8_limit_is_a_convolution_of_bytes() -> None:
    model = onnx.load_from_string(limits.INT8_CONVOLUTION)
    assert [node.op_type for node in model.graph.node] == ["ConstantOfShape", "QLinearConv"]
    maps = np.random.default_rng(0).integers(0, 128, (1, 5, 6, 128), np.uint8)
    result = limits.session_of(limits.INT8_CONVOLUTION, 1).run(None, {"maps": maps})[0]
    rows = np.pad(maps[0].astype(np.int64), ((1, 1), (1, 1), (0, 0))).sum(2)
    sums = sum(rows[down : down + 5, right : right + 6] for down in range(3) for right in range(3))
    assert np.array_equal(result, np.broadcast_to(np.rint(5 * sums / 4096)[..., None], result.shape))


def test_the_fp32_limit_is_a_convolution_of_the_same_maps() -> None:
    maps = np.random.default_rng(0).standard_normal((1, 128, 5, 6), np.float32)
    result = limits.session_of(limits.FP32_CONVOLUTION, 1).run(None, {"maps": maps})[0]
    rows = np.pad(maps[0], ((0, 0), (1, 1), (1, 1))).mean(0)
    means = sum(rows[down : down + 5, right : right + 6] for down in range(3) for right in range(3)) / 9
    assert np.allclose(result, np.broadcast_to(means, result.shape), atol=1e-5)


def test_the_bf16_limit_is_measured_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.measurer(1, 64, 1 << 16, 0)().keys() == {"gemm_gflops", "int8_gflops", "copy_gbytes"}
    assert limits.measurer(1, 64, 1 << 16, 1)()["bf16_gflops"] > 0
    for known, measured in (["avx2"], False), (["avx2", "avx512_bf16"], True):
        monkeypatch.setattr(limits, "instructions", lambda known=known: known)
        assert limits.Limits([1], bf16=True).bf16 is measured
        assert not limits.Limits([1]).bf16


@pytest.mark.parametrize(
    ("kernel", "precision"),
    [("brgconv_avx512_1x1_I8", "int8"), ("brgemm_avx512_bf16", "bf16"), ("jit_avx2_FP32", "fp32")],
)
def test_openvinos_kernels_say_what_they_calculate_in(kernel: str, precision: str) -> None:
    assert precision_of(kernel) == precision


# --- layers ---


def test_layers_multiply_what_the_graph_does(tmp_path: Path) -> None:
    """Both engines' lists against the count of the graph, which comes from another run of another graph."""
    source = BUNDLED / "affnet-camvid-int8.onnx"
    target = OpenVINOTarget()
    model = target.convert(onnx.load(source), "fp32")
    target.write(model, AnyGraph(source).artefact, tmp_path / "net.xml")
    for file in (source, tmp_path / "net.xml"):
        layers = layers_of(case_of(str(file), tmp_path))
        assert sum(layer.macs for layer in layers) == count_graph(source, SIZE).macs
        assert all(layer.ms >= 0 for layer in layers)
        assert sum(layer.ms for layer in layers) > 0
        precisions = {layer.precision for layer in layers if layer.macs}
        assert {"int8"} <= precisions <= {"int8", "bf16", "fp32"}
        assert not any(layer.name.endswith(("_nchwc", "WithoutBiases")) for layer in layers)


@pytest.mark.parametrize(
    ("make", "macs"),
    [
        (lambda ops, x, w: ops.convolution(x, w(8, 4, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]), 8 * 4 * 9 * 60),
        (lambda ops, x, w: ops.group_convolution(x, w(4, 2, 1, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1]), 8 * 9 * 15),
        (lambda ops, x, w: ops.convolution_backprop_data(x, w(4, 5, 2, 2), [2, 2]), 4 * 60 * 5 * 4),
        (lambda ops, x, w: ops.matmul(x, w(10, 7), False, False), 4 * 6 * 10 * 7),
        (lambda ops, x, w: ops.relu(x), 0),
    ],
)
def test_macs_of_openvinos_operations(make: Any, macs: int) -> None:
    ops = pytest.importorskip("openvino.opset13")
    picture = ops.parameter([1, 4, 6, 10], np.float32)
    operation = make(ops, picture, lambda *shape: ops.constant(np.zeros(shape, np.float32)))
    assert openvino_macs(operation) == macs


def test_times_are_medians_without_the_first_runs() -> None:
    times = [(name, ms) for ms in (90.0, 80.0, 1.0, 3.0, 2.0) for name in ("a", "b")]
    assert collected(times) == {"a": 2.0, "b": 2.0}


def test_a_report_of_layers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "net.onnx", "affnet-camvid-int8", "--size", "64x96", "--rounds", "1", "--layers", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    for row in report["results"]:
        assert sum(layer["macs"] for layer in row["layers"]) >= row["macs"] > 0  # channels may be padded
        assert all((layer["macs"] > 0) == (layer["of_gemm"] is not None) for layer in row["layers"])
    precisions = [{layer["precision"] for layer in row["layers"]} - {None} for row in report["results"]]
    assert precisions == [{"fp32"}, {"int8"}]
    for text in (report_text(report), report_markdown(report)):
        assert text.count("of the time: ") == 6
        assert "QLinearConv" in text
        assert text.count("Layers of ") == 2


def test_torch_tells_no_layers(here: Path) -> None:
    plan = Plan(candidates=("fast_scnn",), sizes=(SIZE,), backends=("torch",), threads=(1,), layers=True, race=QUICK)
    report = measuring.measure(plan)
    assert [row["layers"] for row in report["results"]] == [[]]
    assert report["left_out"] == ["layers of fast_scnn in torch on cpu, which does not tell them"]


def test_shares_of_the_time() -> None:
    layers = [{"ms": 5.0, "of_gemm": 0.5}, {"ms": 3.0, "of_gemm": 0.49}, {"ms": 2.0, "of_gemm": None}]
    assert shares(layers) == {"near": 0.5, "far": 0.3, "other": 0.2}


# --- reports ---


def test_a_report_without_torch(here: Path) -> None:
    """The base install: a trained network of the package, a file of ours and a foreign one, with both tails."""
    quick = "from featherseg.benchmark import limits; limits.GEMM_SIDE, limits.COPY_BYTES = 64, 1 << 16\n    sys.exit("
    words = ["affnet-camvid", "net.onnx,tail=plain", "foreign.onnx", "--size", "64x96", "--threads", "1", "2"]
    command = [sys.executable, "-c", BASE_INSTALL.replace("sys.exit(", quick), "benchmark", *words]
    done = subprocess.run([*command, "--rounds", "2", "--json"], cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report.keys() == {"date", "machine", "settings", "limits", "results", "left_out"}
    limits = [(one["threads"], one["precision"]) for one in report["limits"]]
    assert limits == [(1, "fp32"), (1, "int8"), (2, "fp32"), (2, "int8")]
    assert all(one["gemm_gflops"] > 0 and one["copy_gbytes"] > 0 for one in report["limits"])
    rows = report["results"]
    assert [row["name"] for row in rows] == [name for name in words[:3] for _ in range(2)]
    assert all(row["rounds"] == 2 and row["macs"] > 0 and row["bytes_moved"] > 0 for row in rows)
    assert all(row["of_gemm"] is not None and row["of_copy"] is not None for row in rows)
    affnet, tiny, foreign = rows[::2]
    assert 0.5 < affnet["miou"] < 1
    assert affnet["scored_elsewhere"]
    assert tiny["tail_by"] == "resize + argmax, numpy"
    assert (tiny["miou"], foreign["weights"], foreign["precision"]) == (None, "unknown", "unknown")
    stages = {"prepare", "network", "labels", "total", "processor"}
    assert all(row["ms"].keys() == stages for row in rows)
    assert all(row["ms"]["total"].keys() == {"p50", "p90", "min"} for row in rows)
    assert report["machine"]["versions"]["torch"]  # installed, only hidden; what matters is that nothing imported it


def test_the_files_of_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"scores": {"val": {"miou": 0.7}}}
    scored = Artefact(classes=CLASSES, input_rule=InputRule(size=SIZE), stride=STRIDE, card=card)
    write_network(here / "scored.onnx", metadata=scored.to_text())
    words = ["scored.onnx", "scored.onnx,tail=graph", "net.onnx", "--size", "64x96", "--picture", "street.png"]
    assert main(["benchmark", *words, "--rounds", "1", "--threads", "1", "--out", "report"]) == 0
    out = capsys.readouterr().out
    assert sorted(path.name for path in Path("report").iterdir()) == [
        f"benchmark.{end}" for end in ("json", "md", "png")
    ]
    assert "not in the picture: net.onnx: no score on its card" in out
    report = json.loads(Path("report/benchmark.json").read_text())
    assert [row["miou"] for row in report["results"]] == [0.7, 0.7, None]
    assert report["results"][1]["bytes_moved"] > report["results"][0]["bytes_moved"]  # with the tail's
    page = Path("report/benchmark.md").read_text()
    assert page.count("\n| scored.onnx") == 2
    for words_of_it in ("count, not a measurement", "GEMM", "resize + argmax, in the graph", "decode"):
        assert words_of_it in page
    with Image.open("report/benchmark.png") as picture:
        assert picture.width > 500


def test_what_torch_moves_is_counted_operation_by_operation(here: Path) -> None:
    picture = torch.zeros(1, 3, 8, 8)
    kernel = torch.zeros(4, 3, 1, 1)
    with BytesMoved() as moved:
        maps = torch.nn.functional.conv2d(picture, kernel)
        maps.transpose(2, 3).relu_()  # a view moves nothing; what is done in place is read and written
    assert moved.total == 4 * ((192 + 12 + 256) + (256 + 256))
    network = create_model("affnet", num_classes=4).deployed().eval()
    (case,) = cases_of(Plan(candidates=("affnet",), sizes=(SIZE,), num_classes=4), Workshop(here))[0]
    fused = count_graph(Path(case.file), (64, 128)).bytes_moved
    assert fused < count_bytes_moved(network, (64, 128)) < 4 * fused
    assert count_bytes_moved(network, (512, 512), bf16=True) < 0.9 * count_bytes_moved(network, (512, 512))


def test_a_network_by_name_in_torch(here: Path) -> None:
    plan = Plan(
        candidates=("spssnet",), sizes=((32, 64),), backends=("torch",), batches=(2,), precisions=("fp32", "bf16"),
        num_classes=4, threads=(1,), race=QUICK,
    )  # fmt: skip
    report = measuring.measure(plan)
    rows = report["results"]
    assert [row["precision"] for row in rows] == ["fp32", "bf16"]
    macs = count_macs(stripped(create_model("spssnet", num_classes=4)), (32, 64))
    assert all((row["weights"], row["macs"]) == ("random", macs) for row in rows)
    assert 0 < rows[0]["bytes_moved"] != rows[1]["bytes_moved"] > 0  # narrower maps, but weights cast anew
    assert all(row["file"] is None and row["boundary_cells"] == rows[0]["boundary_cells"] for row in rows)
    exact, plain = (Contestant(case_of(f"spssnet{tail}", here, backends=("torch",))) for tail in ("", ",tail=plain"))
    assert exact().keys() == plain().keys() == rows[0]["ms"].keys()
    assert (exact.mask == plain.mask).all()


def test_torch_runs_what_a_predictor_runs(here: Path) -> None:
    """Norms folded, fusions split but on a GPU; a library's network is as the library has it."""
    case = case_of("affnet", here, backends=("torch",), num_classes=4)
    whole = create_model("affnet", num_classes=4)
    quick = stripped(create_model("affnet", num_classes=4))
    assert torch_subject.macs_of(case) == count_macs(quick, SIZE) < count_macs(whole, SIZE)
    assert torch_subject.macs_of(replace(case, device="cuda")) == count_macs(whole, SIZE)
    assert torch_subject.bytes_moved_by(case) == count_bytes_moved(quick, SIZE)
    assert Contestant(case).subject.forward.network.state_dict().keys() == quick.state_dict().keys()
    library = case_of("lraspp", here, backends=("torch",), num_classes=4)
    norms = [type(module) for module in Contestant(library).subject.forward.modules()].count(torch.nn.BatchNorm2d)
    assert norms == [type(module) for module in create_model("lraspp", num_classes=4).modules()].count(
        torch.nn.BatchNorm2d
    )


def test_a_checkpoint_is_counted_itself_whatever_lies_beside_it(here: Path) -> None:
    write_checkpoint(here / "net.safetensors", InputRule())
    case = case_of("net.safetensors", here)
    macs, moved = measuring.counts_of(case, Workshop(here), lambda *_: pytest.fail("counted the file beside it"))
    assert macs == count_macs(create_model("fast_scnn", num_classes=3), SIZE)
    assert moved is not None


def test_peak_memory_is_measured_in_another_process(here: Path) -> None:
    report = measuring.measure(Plan(candidates=("net.onnx",), sizes=((512, 512),), memory=True, race=QUICK))
    (row,) = report["results"]
    assert row["peak_memory"].keys() == {"host", "device"}
    assert row["peak_memory"]["host"] is None or 512 * 512 * 3 * 4 < row["peak_memory"]["host"] < 1 << 30


def test_who_has_a_place_in_the_picture() -> None:
    row = {"name": "a", "miou": 0.5, "scored_elsewhere": False}
    other = {"name": "b", "miou": 0.5, "scored_elsewhere": True, "scored_at": [64, 96]}
    own = {"name": "e", "miou": 0.5, "scored_elsewhere": True, "scored_at": None}
    points, left_out = chart.placed([row, other, {"name": "c", "miou": None}, {"name": "d", "miou": None}, own])
    assert points == [row]
    assert left_out == [
        "b: its score was measured at 64x96",
        "c, d: no score on its card",
        "e: its score was measured at the pictures' own sizes",
    ]
    assert measuring.alike([448, 592], (448, 600))
    assert not measuring.alike([448, 592], (720, 960))
    assert not measuring.alike(None, (448, 592))  # which may be any


def test_networks_by_name_need_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "menu", list)
    with pytest.raises(FeathersegError, match="need torch: pip install"):
        workshop.is_network("affnet")
    assert not workshop.is_network("affnet-camvid")
