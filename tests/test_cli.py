"""What every verb shares: the base install, options anywhere, one line for whatever goes wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_onnx import write_network
from trees import folder_tree

from featherseg.app import ablate
from featherseg.app.cli import EXTRAS, VERBS, explained, main, open_verb

# the command line as the base install has it: the packages of the extras are not to be found
BASE_INSTALL = f"""if True:
    import sys
    from importlib.machinery import PathFinder

    class Base(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            hidden = {sorted(EXTRAS)!r}
            return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

    sys.meta_path[:] = [Base if finder is PathFinder else finder for finder in sys.meta_path]
    from featherseg.app.cli import main
    sys.exit(main(sys.argv[1:]))
"""


def on_the_base_install(*words: str | Path, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", BASE_INSTALL, *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_help_on_the_base_install(verb: str, tmp_path: Path) -> None:
    code, out, err = on_the_base_install(verb, "--help", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: featherseg {verb}")
    needs_torch = verb in ("train", "export", "publish")  # its options are those of torch's recipes, targets ...
    missing = "To see its options: the package 'torch' is not installed: pip install 'featherseg[train]'\n"
    assert out.endswith(missing) == needs_torch
    assert f"  featherseg {verb} " in out  # examples, with torch and without


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["predict", "data/images/val", "--model", "net.onnx"], "predictions"),
        (["models"], "affnet"),
        (["ablate", "--list"], "004-I"),
        (["ablate", "004-I"], "'torch' is not installed: pip install 'featherseg[train]'"),
        (["train", "affnet_folder"], "'torch' is not installed: pip install 'featherseg[train]'"),
        (["export", "run", "--to", "onnx"], "'torch' is not installed: pip install 'featherseg[train]'"),
        (["val", "net.onnx", "--root", "data"], "'yaml' is not installed: pip install 'featherseg[train]'"),
        (["val", "run/best.safetensors", "--root", "data"], "needs the package torch: pip install 'featherseg[train]'"),
    ],
)
def test_every_verb_on_the_base_install(words: list[str], expected: str, tmp_path: Path) -> None:
    folder_tree(tmp_path / "data")
    write_network(tmp_path / "net.onnx")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").touch()
    code, out, err = on_the_base_install(*words, cwd=tmp_path)
    if "pip install" in expected:
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert expected in err
    else:
        assert (code, err) == (0, "")
        assert expected in out


@pytest.mark.parametrize(
    ("package", "extra"),
    [("torch.nn", "train"), ("timm", "train"), ("onnxscript", "export"), ("executorch.runtime", "executorch")],
)
def test_a_missing_package_is_named_with_its_extra(package: str, extra: str) -> None:
    said = explained(ModuleNotFoundError(f"No module named {package!r}", name=package))
    assert said.endswith(f"pip install 'featherseg[{extra}]'")
    assert explained(ModuleNotFoundError("No module named 'x'", name="x")) == "No module named 'x'"


def test_options_may_stand_between_the_others() -> None:
    for verb, words, expected in (
        ("train", ["R", "--json", "data.root=D"], {"recipe": "R", "overrides": ["data.root=D"], "json": True}),
        ("predict", ["a", "--json", "b"], {"sources": [Path("a"), Path("b")], "json": True}),
        ("predict", ["--", "-a.png"], {"sources": [Path("-a.png")]}),
        ("ablate", ["--json", "T", "--train", "epochs=3"], {"table": "T", "settings": ["epochs=3"]}),
        ("val", ["--root", "D", "N", "--json"], {"model": "N", "root": Path("D")}),
    ):
        parser, _ = open_verb(verb)
        assert expected.items() <= vars(parser.parse(words)).items()


@pytest.mark.parametrize(
    "words",
    [["predict", "--size"], ["predict", "a", "--jsno", "b"], ["train"], ["val", "a"], ["export", "--to", "onnx"]],
)
def test_a_wrong_option_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["train"], "RECIPE"),
        (["val"], "RUN|NAME|PATH, --root"),
        (["val", "a"], "--root"),
        (["val", "--root", "d"], "RUN|NAME|PATH"),
        (["export"], "RUN|NAME, --to"),
    ],
)
def test_all_that_is_missing_is_named(words: list[str], missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    verb = f"featherseg {words[0]}"
    assert capsys.readouterr().err == f"{verb}: the following arguments are required: {missing}; try {verb} --help\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ablate", "004-I", "--device", "cpu"], "'device=cpu' is a setting of the training"),
        (["ablate", "--list", "--train"], "ablate --list trains nothing"),
        (["benchmark", "nowhere.onnx", "--size", "64x64", "--device", "auto"], "nowhere.onnx"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "-3", "many"])
def test_workers_are_one_or_more(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check-data", "--root", "data", "--workers", workers])
    assert "expected a number of 1 and more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "data/a.png"), "data/a.png: Permission denied"),
        (OSError("two\nlines"), "two lines"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    error: OSError, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(ablate, "run", fail)
    assert main(["ablate", "--list"]) == 2
    assert capsys.readouterr() == ("", f"featherseg ablate: {line}\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    for verb in (["ablate", "--list"], ["predict", "--help"]):
        child = subprocess.Popen(
            [sys.executable, "-m", "featherseg.app.cli", *verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        child.wait()
        child.stderr.close()


def test_term_ends_a_verb_as_ctrl_c_does_and_a_worker_at_once() -> None:
    program = """
import os, signal, sys, time
from featherseg.app import cli

def verb(*_):
    worker = os.fork()
    if worker == 0:
        time.sleep(60)
    time.sleep(0.2)
    os.kill(worker, signal.SIGTERM)
    print("worker", os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]), flush=True)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        print("swept", flush=True)

cli.run_verb = verb
sys.exit(cli.main(["models"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (
        143, "worker 143\nswept\n", "featherseg models: interrupted\n",
    )  # fmt: skip
