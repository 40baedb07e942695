"""`featherseg ablate` as a user types it."""

import json
import os
import subprocess
import sys

import pytest

from featherseg.app.cli import main
from featherseg.recipes.tables import TABLES

KEYS = {"row", "model", "fields", "params", "macs", "cost", "mbytes", "theirs"}


def rows_of(capsys, table):
    assert main(["ablate", table, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_json(capsys):
    assert main(["ablate", "--list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert len(tables) == 22
    assert all({"table", "paper", "title"} <= set(table) for table in tables)
    assert sum(table["in_paper"] for table in tables) == 20
    assert [table["table"] for table in tables if "not in the paper" in table["title"]] == [
        "002-house", "004-losses",
    ]  # fmt: skip


def test_list_names_every_table(capsys):
    assert main(["ablate", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out and table.title in out for name, table in TABLES.items())


def test_list_needs_no_torch():
    code = (
        "import sys; from featherseg.app.cli import main; assert main(['ablate', '--list']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_rows_as_data(capsys):
    rows = rows_of(capsys, "003-T3")
    assert all(set(row) >= KEYS for row in rows)
    eca = rows[1]
    assert eca["row"] == "BM+ECAnet"
    assert eca["model"] == "dsc_deeplab"
    run = {"loss": "focal", "schedule": "step", "precision": "fp16"}
    assert eca["fields"] == {"attention": "eca", "context": "aspp"} | run
    assert eca["params"] == 5_818_154
    assert isinstance(eca["macs"], int)
    assert eca["cost"] == {"value": pytest.approx(53.0267, abs=5e-5), "unit": "GFLOPs", "convention": "2 x thop"}
    assert eca["mbytes"] == pytest.approx(23.273)
    assert eca["theirs"] == {"mixed precision": None, "mIoU (%)": 73.87, "mPA (%)": 83.58, "parameters (10^6)": 5.826}
    assert "five weights" in eca["note"]
    assert (eca["num_classes"], eca["size"]) == (21, [512, 512])


def test_a_peer_that_is_not_built_has_the_papers_figures_alone(capsys):
    fcn, unet = rows_of(capsys, "001-t4")[:2]
    assert fcn["theirs"] == {"mIoU (%)": 59.59, "time (ms)": 160, "weights (MB)": 91.3}
    assert [fcn[key] for key in ("model", "params", "macs", "cost", "mbytes")] == [None] * 5
    assert fcn["fields"] == {}
    assert (unet["model"], unet["params"]) == ("unet_vgg16", 24_892_437)


def test_xception_stands_beside_the_printed_size(capsys):
    xception = rows_of(capsys, "000-T3")[0]
    assert xception["fields"]["backbone"] == "xception65"
    assert xception["params"] > 40_000_000
    assert xception["theirs"]["parameters (MB)"] == 42.6


def test_text(capsys):
    assert main(["ablate", "004-i"]) == 0
    out, err = capsys.readouterr()
    assert not err
    lines = out.splitlines()
    assert lines[0] == "004-I: Four ways to fuse the two branches"
    line = next(line for line in lines if line.startswith("Concat+EWA "))
    assert line.split() == ["Concat+EWA", "1,622,810", "5.186", "5.256", "6.49", "|", "1.62", "69.48"]
    assert "affnet fusion=concat+ewa, trained with loss=owfl_ce" in out
    assert "Not reproduced" in out


def test_a_wide_table_prints_its_rows_as_columns(capsys):
    assert main(["ablate", "004-VIII"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["row", "ERFNet", "SPSSNet", "AFFNet"] in [line.split() for line in lines]
    assert ["Roa", "97.2", "97.7", "96.9"] in [line.split() for line in lines]


@pytest.mark.parametrize("table", ["001-T1", "001-T2", "003-T4"])
def test_tables_without_networks_print(capsys, table):
    assert main(["ablate", table]) == 0
    out = capsys.readouterr().out
    assert "params" not in out
    assert "notes:" in out


def test_a_narrow_encoding_is_no_error():
    words = [sys.executable, "-m", "featherseg.app.cli", "ablate", "001-T1"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"512?" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["003-T22"], "did you mean '003-T2'?"),
        (["004-VI", "--train", "data.format=camvid", "lr=3"], "key"),
        (["001-T1", "--train"], "none of its rows is a network of ours"),
        (["004-I", "--train", "--rows", "Concta"], "some of EWA"),
        (["004-I", "--train", "loss=ce"], "leave open"),
        (["004-I", "--train", "model.fusion=ewa"], "leave open"),
        (["004-I", "--train"], "data.root=DIR"),
        (["004-I", "epochs=3"], "'epochs=3' is a setting of the training"),
        ([], "expected TABLE or --list"),
        (["004-I", "--list"], "leave one out"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, says):
    assert main(["ablate", *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert says in err
    assert err.count("\n") == 1


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as end:
        main(["ablate", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "featherseg ablate 003-T2" in out
    assert "--list" in out
