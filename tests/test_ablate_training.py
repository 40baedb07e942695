"""`featherseg ablate TABLE --train`: the run of a row, what stands beside the paper's figures, rows that fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from trees import camvid_tree

from featherseg.app import ablate_training
from featherseg.app.cli import main
from featherseg.data import cityscapes, voc
from featherseg.recipes.tables import TABLES
from featherseg.recipes.tables.columns import CLASSES, COUNTS, MEASURES, OF_DATA, by_network
from featherseg.recipes.tables.counts import count_row
from featherseg.recipes.tables.training import Trained, compared, run_of
from featherseg.runtime.artefact import Artefact, InputRule, Preprocessing
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.training import Run, train

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")


def keys(tmp_path: Path) -> list[str]:
    """A miniature of CamVid and keys that train on it in a moment."""
    if not (tmp_path / "data").exists():
        camvid_tree(tmp_path / "data")
    return [
        "data.format=camvid", f"data.root={tmp_path / 'data'}", f"out={tmp_path / 'out'}", "epochs=1", "batch_size=3",
        "workers=0", "augment.crop_size=64x64", "input_rule.size=64x64", "tensorboard=false",
    ]  # fmt: skip


def found(run: Run | None, format: str, names: Sequence[str]) -> Trained:
    """A trained row whose classes have the IoU 0.50, 0.51, 0.52 ... and whose mIoU is 0.6."""
    iou = {name: 0.5 + index / 100 for index, name in enumerate(names)}
    card = {"data": {"format": format}, "scores": {"val": {"iou": iou}}}
    artefact = Artefact(
        classes=Classes(names=tuple(names)),
        preprocessing=Preprocessing(),
        input_rule=InputRule(),
        align_corners=False,
        stride=8,
        card=card,
    )
    return Trained(run=run, epochs=1, finished=True, scores={"miou": 0.6}, artefact=artefact)


def test_ablate_trains_rows_once_and_prints_them_beside_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = keys(tmp_path)
    words = ["ablate", "004-I", "--train", "--rows", "EWA", *mine]
    assert main([*words, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in first["rows"]] == ["trained", "not run", "not run", "not run"]
    ewa = first["rows"][0]
    assert ewa["params"] == 1_458_074
    assert ewa["columns"]["mIoU (%)"]["theirs"] == 67.28
    assert ewa["columns"]["mIoU (%)"]["ours"] == pytest.approx(100 * ewa["scores"]["miou"], abs=0.01)
    assert ewa["card"]["run"]["model"] == {"name": "affnet", "fusion": "ewa"}
    assert ewa["latency_ms"] > 0
    weights = tmp_path / "out" / "affnet_fusion=ewa_loss=owfl_ce" / "best.safetensors"
    before = weights.stat().st_mtime_ns
    assert main(words) == 0
    said = capsys.readouterr()
    assert "finished" in said.err
    assert "| EWA | 1.46 | 1.458 | -0.002 | 67.28 |" in said.out
    assert "computed in fp32" in said.out
    assert weights.stat().st_mtime_ns == before
    assert main(["ablate", "004-losses", "--collect", *mine]) == 0
    assert "No row was run." in capsys.readouterr().out
    groups = ["ablate", "004-losses", "--train", "--rows", "OWFL + SEL", "--json", *mine]
    assert main(groups) == 0
    sel = json.loads(capsys.readouterr().out)["rows"][-1]
    assert {"gamma0", "miou"} <= set(sel["scores"])
    assert sel["columns"]["mIoU, gamma=0 (%)"]["ours"] is not None
    assert json.loads((tmp_path / "out" / "004-losses.json").read_text())["rows"][-1]["run"] == sel["run"]


@pytest.mark.parametrize(
    ("table", "row", "word"),
    [
        ("004-I", "EWA", "model.fusion=concat"),
        ("004-I", "EWA", "model=fast_scnn"),
        ("004-I", "EWA", "loss=ce"),
        ("003-T1", "BM (cos)", "schedule=poly"),
        ("003-T1", "BM (cos)", "precision=fp16"),
        ("003-T2", "BM", "model.attention=eca"),
        ("004-losses", "OWFL + SEL", "model.presence=false"),
    ],
)
def test_a_key_that_the_row_sets_is_refused(table: str, row: str, word: str, tmp_path: Path) -> None:
    (one,) = [one for one in TABLES[table].rows if one.name == row]
    with pytest.raises(FeathersegError, match="the rows leave open"):
        run_of(one, ["data.format=camvid", word], tmp_path)


def test_keys_that_the_row_leaves_open_are_taken(tmp_path: Path) -> None:
    row = TABLES["003-T3"].rows[0]
    run = run_of(row, ["data.format=voc", "model.pretrained=none", "loss.gamma=3", "optim.lr=0.01"], tmp_path)
    assert run is not None
    assert run.model.fields["pretrained"] == "none"
    assert run.loss.to_json() == {"name": "focal", "gamma": 3}
    with pytest.raises(FeathersegError, match="gama"):
        run_of(row, ["data.format=voc", "loss.gama=3"], tmp_path)


@pytest.mark.parametrize(
    ("words", "frozen"),
    [([], 50), (["epochs=20"], 10), (["epochs=2"], 1), (["epochs=1"], 0), (["epochs=20", "freeze.epochs=4"], 4)],
)
def test_a_shortened_row_thaws(words: list[str], frozen: int, tmp_path: Path) -> None:
    for row in TABLES["003-T1"].rows:
        run = run_of(row, ["data.format=voc", *words], tmp_path)
        assert run is not None
        assert run.freeze.epochs == frozen < run.epochs


def test_classes_stand_beside_those_of_the_paper() -> None:
    table = TABLES["004-VIII"]
    row = table.rows[-1]
    names = cityscapes.CLASSES.names
    columns = compared(table, row, found(None, "cityscapes", names), None)
    assert columns["Roa"] == {"theirs": 96.9, "ours": 50.0, "difference": -46.9}
    assert [each["ours"] for each in columns.values()].count(None) == 0
    assert len({each["ours"] for each in columns.values()}) == 19
    fourth = TABLES["004-IV"]
    columns = compared(fourth, fourth.rows[-1], found(None, "cityscapes", names), None)
    assert [columns[name]["ours"] for name in fourth.columns] == [*(50.0 + index for index in range(19)), 60.0]
    camvid = compared(table, row, found(None, "camvid", CAMVID), None)
    measured = {name for name, each in camvid.items() if each["ours"] is not None}
    assert measured == {"Roa", "Sid", "Bui", "Fen", "Pol", "TSi", "Veg", "Sky", "Per", "Car"}
    assert camvid["Sid"]["ours"] == 54.0
    assert camvid["Byc"] == {"theirs": 62.0, "ours": None, "difference": None}


def test_a_table_whose_columns_are_networks_trains_those(tmp_path: Path) -> None:
    table = by_network(TABLES["003-T4"])
    assert [row.name for row in table.rows] == ["benchmark model", "new model"]
    benchmark, new = (run_of(row, ["data.format=voc"], tmp_path) for row in table.rows)
    assert benchmark is not None
    assert new is not None
    assert (benchmark.loss.name, benchmark.schedule.name, new.loss.name, new.schedule.name) == (
        "ce",
        "cos",
        "focal",
        "step",
    )
    counts = [count_row(table, row) for row in table.rows]
    assert [count.params for count in counts if count] == [5_818_149, 3_868_231]
    columns = compared(table, table.rows[1], found(new, "voc", voc.CLASSES.names), counts[1])
    assert columns["airplane"] == {"theirs": 81.19, "ours": 51.0, "difference": -30.19}
    assert [columns[name]["ours"] for name in table.columns] == [*(50.0 + index for index in range(21)), 60.0]
    assert by_network(TABLES["004-I"]) is TABLES["004-I"]


def test_the_score_of_a_data_set_stands_beside_that_data_set(tmp_path: Path) -> None:
    table = TABLES["000-T3"]
    row = table.rows[-1]
    run = run_of(row, ["data.format=voc"], tmp_path)
    part = run_of(row, ["data.format=voc", "data.classes=background,cat"], tmp_path)
    ours = {
        name: [compared(table, row, trained, None)[column]["ours"] for column in OF_DATA]
        for name, trained in {
            "voc": found(run, "voc_aug", voc.CLASSES.names),
            "cityscapes": found(run, "cityscapes", cityscapes.CLASSES.names),
            "camvid": found(run, "camvid", CAMVID),
            "part": found(part, "voc", ("background", "cat")),
        }.items()
    }
    assert ours == {"voc": [60.0, None], "cityscapes": [None, 60.0], "camvid": [None, None], "part": [None, None]}


def test_counts_stand_beside_the_papers_and_times_do_not() -> None:
    table = TABLES["004-III"]
    row = table.rows[-1]
    columns = compared(table, row, Trained(scores={}), count_row(table, row))
    assert columns["parameters (10^6)"] == {"theirs": 1.62, "ours": 1.623, "difference": 0.003}
    assert columns["Mac (G)"] == {"theirs": 5.256, "ours": 5.256, "difference": 0.0}
    assert columns["FPS"] == {"theirs": 41.7, "ours": None, "difference": None}
    other = TABLES["000-T1"]
    columns = compared(other, other.rows[0], Trained(scores={}), count_row(other, other.rows[0]))
    assert {each["ours"] for each in columns.values()} == {None}  # of whole classifiers


def test_every_column_is_placed_or_known_to_be_the_papers_alone() -> None:
    alone = {
        *("parameters (M)", "top-1 (%)", "change in mIoU", "backbone", "CELoss", "DiceLoss", "FE module", "time (ms)"),
        *("FPS", "ms", "learning rate decline mode", "mixed precision"),
    }
    tables = [by_network(table) for name, table in TABLES.items() if name not in ("001-T1", "001-T2")]
    columns = {column for table in tables for column in table.columns}
    menus = [set(MEASURES), set(OF_DATA), set(COUNTS), set(CLASSES), alone]
    assert columns == set().union(*menus)
    assert sum(map(len, menus)) == len(columns)


def test_a_row_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_fails(run: Run) -> Path:
        if run.model.fields["fusion"] == "ewa":
            raise FeathersegError("the loss is nan at step 3", remedy="lower optim.lr")
        return train(run)

    monkeypatch.setattr(ablate_training, "train", first_fails)
    words = ["ablate", "004-I", "--train", "--rows", "EWA", "--rows", "Concat", "--json", *keys(tmp_path)]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "004-I, EWA: failed: the loss is nan at step 3: lower optim.lr" in said.err
    statuses = [row["status"] for row in json.loads(said.out)["rows"]]
    assert statuses == ["failed: the loss is nan at step 3: lower optim.lr", "trained", "not run", "not run"]


def test_collect_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = keys(tmp_path)
    words = ["ablate", "004-I", "--collect", "--json", *mine]
    assert main(words) == 0
    capsys.readouterr()
    assert not (tmp_path / "out").exists()
    assert main(["ablate", "004-I", "--train", "--rows", "EWA", *mine]) == 0
    folder = tmp_path / "out" / "affnet_fusion=ewa_loss=owfl_ce"
    damaged = folder / "state-99999999.safetensors"
    damaged.write_bytes(b"half a file")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    capsys.readouterr()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["status"] == "trained"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert main([*words, "epochs=2"]) == 2
    assert "holds another run: epochs differ(s)" in capsys.readouterr().err
    (folder / "best.safetensors").write_bytes(b"half a file")
    assert main([*words, "seed=0"]) == 2
    assert "best.safetensors: no readable checkpoint" in capsys.readouterr().err


def test_train_is_for_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["ablate", "004-I", "--train", *keys(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "train the rows singly (featherseg train)" in err
    assert err.count("\n") == 1


def test_data_that_are_not_there_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["data.format=camvid"], [f"data.root={tmp_path / 'none'}"]):
        assert main(["ablate", "004-I", "--train", f"out={tmp_path / 'out'}", *words]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert "data.root" in err
        assert err.count("\n") == 1
