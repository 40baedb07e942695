"""The house stands as drawn: imports only go down, peers never meet, the ground floor needs no torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_onnx import striped, write_network

import featherseg

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "featherseg"

FLOORS: dict[str, int] = {
    module: floor
    for floor, modules in {
        8: ("app",),
        7: ("recipes",),
        6: ("benchmark",),
        5: ("training", "export"),
        4: ("evaluation", "hub"),
        3: ("models", "data"),
        2: ("backbones",),
        1: ("nn", "losses", "metrics"),
        0: ("runtime",),
    }.items()
    for module in modules
}
DOOR = "__init__"  # the public names: looks into every floor, and no floor looks through it
NO_NAMES = {"utils", "util", "common", "core", "helpers", "misc", "tools"}


class Import(NamedTuple):
    """One import of ours: who, where, and the dotted name behind `featherseg.`, empty for the door."""

    importer: str
    line: int
    imported: str


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> list[str]:
    """src/featherseg/nn/blocks.py -> [nn, blocks]; .../nn/__init__.py -> [nn, __init__]."""
    return list(path.relative_to(PACKAGE).with_suffix("").parts)


def imports_of(path: Path, source: str | None = None) -> Iterator[Import]:
    """Every import of our own modules in a file, wherever it stands: lazy, or for type checkers only."""
    importer = ".".join(dotted(path))
    for node in ast.walk(ast.parse(source if source is not None else path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = list(names_from(node, path))
        elif isinstance(node, ast.Call) and is_import_call(node):
            names = [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "featherseg":
                yield Import(importer, node.lineno, rest)


def names_from(node: ast.ImportFrom, path: Path) -> Iterator[str]:
    """The dotted names that a `from ... import ...` brings in; dots in front are resolved."""
    base = node.module or ""
    if node.level:
        package = ["featherseg", *dotted(path)[: -node.level]]
        base = ".".join([*package, *([base] if base else [])])
    for alias in node.names:
        yield f"{base}.{alias.name}" if base == "featherseg" else base


def is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__")


def fault(found: Import) -> str:
    """What is wrong with an import; empty where nothing is."""
    importer, imported = found.importer.partition(".")[0], found.imported.partition(".")[0]
    here = f"{found.importer}:{found.line}"
    if importer in (DOOR, imported):
        return ""
    if imported not in FLOORS:
        return f"{here} goes through the door: import from the module that has {imported or 'the name'}"
    if FLOORS[imported] > FLOORS[importer]:
        return f"{here} imports upward: {importer} (floor {FLOORS[importer]}) <- {imported} ({FLOORS[imported]})"
    if FLOORS[imported] == FLOORS[importer]:
        return f"{here} imports sideways: {importer} and {imported} are peers on floor {FLOORS[importer]}"
    return ""


def test_only_the_listed_modules_stand_at_the_top():
    tops = {path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir() if is_module(path)}
    assert tops - {DOOR} <= FLOORS.keys()


def is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))


def test_no_module_has_a_name_that_says_nothing():
    assert not [path for path in files() if NO_NAMES & set(dotted(path))]


def test_imports_only_go_down():
    faults = [fault(found) for path in files() for found in imports_of(path)]
    assert not list(filter(None, faults))


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("training/loop", "from featherseg.export import onnx", "sideways"),
        ("models/affnet", "def f():\n    from featherseg.data import open_data", "sideways"),
        ("nn/blocks", "if TYPE_CHECKING:\n    import featherseg.models.base", "upward"),
        ("runtime/engines", "from .. import hub", "upward"),
        ("runtime/engines", "from ..models.base import SegNetwork", "upward"),
        ("losses", "from featherseg import metrics", "sideways"),
        ("losses", "importlib.import_module('featherseg.models')", "upward"),
        ("app/predict", "from featherseg import load", "through the door"),
        ("app/predict", "import featherseg", "through the door"),
        ("recipes/affnet", "import featherseg.training.run as r", ""),
        ("runtime/engines", "from . import errors\nfrom .errors import FeathersegError", ""),
        ("nn/__init__", "from . import blocks\nfrom .blocks import resize", ""),
        ("__init__", "from featherseg.training import train", ""),
    ],
)
def test_the_walk_sees_every_kind_of_import(module: str, source: str, words: str):
    found = list(imports_of(PACKAGE / f"{module}.py", source))
    assert found
    assert all(words in fault(one) if words else not fault(one) for one in found)


def test_the_drawing_and_the_door_name_the_same_floors():
    drawing = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = re.findall(r"^    (\d) (\w[\w ]*)$", drawing, re.MULTILINE)
    assert {module: int(floor) for floor, names in drawn for module in names.split()} == FLOORS
    assert set(featherseg.MODULES) == FLOORS.keys() - {"app"}


def test_files_stay_short():
    lengths = {path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in files()}
    assert not {str(path): length for path, length in lengths.items() if length > 300}


def run_python(code: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_exported_file_runs_without_torch(tmp_path: Path):
    network = write_network(tmp_path / "tiny.onnx")
    code = """if True:
        import sys
        import numpy as np
        import featherseg, featherseg.runtime
        prediction = featherseg.load(sys.argv[1])(np.zeros((40, 50, 3), np.uint8))
        assert prediction.mask.shape == (40, 50)
        heavy = {"torch", "torchvision", "timm", "onnx", "matplotlib"} & sys.modules.keys()
        assert not heavy, heavy
    """
    run_python(code, str(network))


def test_train_and_evaluate_stay_functions_when_everything_is_imported(tmp_path: Path):
    """A submodule called `train` would replace the function once it is imported, hence `training` and `evaluation`."""
    from PIL import Image

    write_network(tmp_path / "tiny.onnx")
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    picture = striped(48, 72)
    Image.fromarray(picture).save(tmp_path / "data" / "images" / "a.png")
    Image.fromarray(picture.argmax(axis=2).astype("uint8")).save(tmp_path / "data" / "masks" / "a.png")
    (tmp_path / "data" / "classes.yaml").write_text("names: [red, green, blue]\n")
    code = """if True:
        import importlib, pkgutil, sys
        import featherseg
        from featherseg.runtime import FeathersegError

        def call_both():
            scores = featherseg.evaluate(featherseg.load(f"{sys.argv[1]}/tiny.onnx"), data)
            assert scores.miou == 1, scores.miou
            try:
                featherseg.train(featherseg.recipes.RECIPES["affnet_folder"]())
            except FeathersegError:
                pass
            else:
                raise AssertionError("a run without data has trained")

        data = featherseg.data.open_data(f"{sys.argv[1]}/data")
        call_both()
        for module in pkgutil.walk_packages(featherseg.__path__, "featherseg."):
            importlib.import_module(module.name)
        call_both()
    """
    run_python(code, str(tmp_path))


def test_texts_name_no_machine():
    """No path of somebody's machine, no package index."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout here")
    slash = "/"
    needles = re.compile(rf"(?<![\w.~}}]){slash}(root|work|Users|home){slash}|index[-_]url *=|{slash}simple{slash}")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file() or b"\0" in path.read_bytes()[:4096]:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if needles.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not found
