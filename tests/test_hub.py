"""Networks from the Hugging Face hub and to it: its cache's true layout, and a stand-in that speaks its protocol."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hub_server import TOKEN, Hub, running
from huggingface_hub import constants
from tiny_onnx import CLASSES, STRIDE, striped, write_network

import featherseg
from featherseg.app.cli import main
from featherseg.hub.readme import licence, readme
from featherseg.hub.shipping import packed
from featherseg.models.checkpoint import save_checkpoint
from featherseg.models.engine import TorchEngine
from featherseg.runtime import Artefact, FeathersegError, hub_files, read_mask
from featherseg.runtime.card import MARK, shippable
from featherseg.runtime.engines import BACKENDS, Backend
from featherseg.runtime.hub_files import Repository
from featherseg.runtime.weights import BUNDLED
from featherseg.training.fine_tuning import start_from
from featherseg.training.parts import Part

PICTURE = striped(65, 97)
CARD = {
    "name": "mine",
    "recipe": "fast_scnn_folder",
    "model": {"name": "fast_scnn"},
    "data": {"format": "folder", "root": "/secret/photos", "terms": "personal use, CC BY-NC 4.0"},
    "seed": 0,
    "epochs": "3 of 3",
    "run": {"data": {"root": "/secret/photos"}, "out": "/secret/runs/mine", "init": "/secret/old.safetensors"},
    "training_seconds": 7,
    "scores": {"val": {"miou": 0.5, "pixel_accuracy": 0.75}},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights."""
    torch.manual_seed(0)
    network = featherseg.create_model("fast_scnn", num_classes=3)
    path = tmp_path_factory.mktemp("net") / "best.safetensors"
    artefact = Artefact(classes=CLASSES, stride=network.stride, card=CARD)
    save_checkpoint(path, network.state_dict(), {"name": "fast_scnn"}, artefact)
    return path


@pytest.fixture
def run(checkpoint: Path, tmp_path: Path) -> Path:
    """A run directory with its checkpoint, the export of it, card and picture."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    shutil.copy(checkpoint, folder / "best.safetensors")
    own = Artefact(classes=CLASSES, stride=STRIDE, card=shippable(CARD))
    write_network(folder / "mine.onnx", metadata=own.to_text())
    (folder / "mine.md").write_text(f"{MARK}\n# mine\n\n- file: mine.onnx, 0.01 MB\n")
    (folder / "mine.jpg").write_bytes(b"a picture")
    (folder / "state-7.safetensors").write_bytes(b"not to be sent")
    return folder


def in_cache(home: Path, repository: str, files: dict[str, Path]) -> None:
    """Files in the layout of huggingface_hub's cache: a blob by its hash, and a snapshot that links to it."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    commit = hashlib.sha1(repository.encode()).hexdigest()
    for name in ("blobs", "refs", f"snapshots/{commit}"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    for name, path in files.items():
        blob = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, folder / "blobs" / blob)
        (folder / "snapshots" / commit / name).symlink_to(f"../../blobs/{blob}")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no token, no network; huggingface_hub has read the environment already."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    at(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")  # where nobody listens


def at(monkeypatch: pytest.MonkeyPatch, endpoint: str, home: Path) -> None:
    """Another hub, another cache."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with running() as server:
        at(monkeypatch, server.url, tmp_path / "home")
        yield server


def environment(home: Path, **others: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    return {**kept, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **others}


def refusal(name: str, **options: str) -> str:
    with pytest.raises(FeathersegError) as caught:
        featherseg.load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ORG/NAME", ("ORG/NAME", "NAME", None)),
        ("a-b/net_v1.5", ("a-b/net_v1.5", "net_v1.5", None)),
        ("org/net@v1.0", ("org/net", "net", "v1.0")),
        ("org/net@refs/pr/1", ("org/net", "net", "refs/pr/1")),
        *(
            (text, None)
            for text in ("net", "./net", "../net", "~/net", "a/b/c", "/a/b", "a/b/", "a/.b", "-a/b", "a/b@")
        ),
        *((text, None) for text in ("runs/net.onnx", "a/photo.jpg", "a/b--c", "a/b..c", "a/b.git", "a/é", "a/b c", "")),
    ],
)
def test_what_is_a_hub_id(text: str, expected: tuple[str, ...] | None) -> None:
    assert Repository.of(text) == expected


def test_a_path_goes_before_the_hub(tmp_path: Path) -> None:
    (tmp_path / "org" / "net").mkdir(parents=True)
    write_network(tmp_path / "org" / "net" / "net.onnx")
    assert featherseg.load("org/net").classes == CLASSES
    with pytest.raises(FeathersegError, match=r"org/other: there is no such file or folder$"):
        featherseg.load(Path("org/other"))  # a Path is a path


def test_an_exported_file_from_the_cache_runs_offline_and_without_torch(tmp_path: Path) -> None:
    in_cache(tmp_path / "home", "org/street", {"street.onnx": BUNDLED / "affnet-camvid.onnx"})
    program = """if True:
        import sys, featherseg
        from featherseg.runtime.weights import BUNDLED
        here, there = (featherseg.load(name)(BUNDLED / "street.jpg").mask for name in ("affnet-camvid", "org/street"))
        assert (here == there).all()
        heavy = {"torch", "timm", "onnx"} & sys.modules.keys()
        assert not heavy, heavy
        try:
            featherseg.load("org/other")
        except featherseg.runtime.FeathersegError as error:
            print(error)
    """
    command = [sys.executable, "-W", "error", "-c", program]
    env = environment(tmp_path / "home", HF_HUB_OFFLINE="1")
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "org/other: no such file or folder, not in the cache" in done.stdout
    assert "hf download org/other other.onnx" in done.stdout


def test_a_checkpoint_from_the_cache_runs_and_trains_offline(checkpoint: Path, tmp_path: Path) -> None:
    in_cache(tmp_path / "home", "org/net", {"model.safetensors": checkpoint})  # the name that suits any repository
    expected = featherseg.load(checkpoint, device="cpu")(PICTURE).mask
    for backend in ("torch", "auto"):
        np.testing.assert_array_equal(featherseg.load("org/net", "cpu", backend)(PICTURE).mask, expected)
    network = featherseg.from_pretrained("org/net")
    assert not network.training
    assert network.artefact.classes == CLASSES
    fresh = featherseg.create_model("fast_scnn", num_classes=3)
    lines, card = start_from("org/net", fresh, Part("fast_scnn"), CLASSES)
    assert lines[0].startswith("init=org/net:")
    assert card == CARD
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in network.state_dict().items())
    assert "cannot be reached" in refusal("org/net", backend="onnxruntime")


def test_from_pretrained_takes_names_and_paths(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATHERSEG_WEIGHTS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    shutil.copy(checkpoint, tmp_path / "own" / "tiny.safetensors")
    for name in ("tiny", checkpoint, str(checkpoint.parent)):
        engine = TorchEngine(network := featherseg.from_pretrained(name), network.artefact, device="cpu")
        loaded = featherseg.load(checkpoint, "cpu")(PICTURE, "own").scores  # whose batch norms are folded
        np.testing.assert_allclose(engine(PICTURE), loaded, rtol=1e-4, atol=1e-6)
    onnx = write_network(tmp_path / "net.onnx")
    with pytest.raises(FeathersegError, match=r"backend torch runs \.safetensors files: give the checkpoint"):
        featherseg.from_pretrained(onnx)


def test_a_folder_of_any_name_stands_for_the_only_network_in_it(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloaded"
    folder.mkdir()
    write_network(folder / "street.onnx")
    assert featherseg.load(folder, backend="onnxruntime").classes == CLASSES
    shutil.copy(checkpoint, folder / "street.safetensors")
    assert featherseg.from_pretrained(folder).num_classes == len(CLASSES)
    write_network(folder / "field.onnx")
    with pytest.raises(FeathersegError, match=r"got field\.onnx, street\.onnx, street\.safetensors: "):
        featherseg.load(folder)


def test_only_the_needed_file_is_fetched_and_once(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    onnx = write_network(tmp_path / "tiny.onnx").read_bytes()
    hub.add("org/tiny", {"tiny.onnx": onnx, "tiny.safetensors": checkpoint.read_bytes(), "README.md": b"# tiny"})
    assert featherseg.load("org/tiny").classes == CLASSES
    assert hub.fetched() == []  # large files: from where the hub redirects to
    large = [path for method, path in hub.requests if method == "GET" and path.startswith("/cdn/")]
    assert large == [f"/cdn/{hashlib.sha256(onnx).hexdigest()}"]
    asked = len(hub.requests)
    assert featherseg.load("org/tiny").classes == CLASSES
    assert len(hub.requests) == asked


def test_a_file_of_less_preferred_kind_serves_while_the_hub_is_away(
    hub: Hub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/tiny", {"tiny.safetensors": checkpoint.read_bytes()})
    assert isinstance(featherseg.load("org/tiny", "cpu").engine, TorchEngine)
    hub.add("org/tiny", {"tiny.onnx": write_network(tmp_path / "tiny.onnx").read_bytes()})
    with monkeypatch.context() as patch:
        at(patch, "http://127.0.0.1:9", tmp_path / "home")
        assert isinstance(featherseg.load("org/tiny", "cpu").engine, TorchEngine)
    assert not isinstance(featherseg.load("org/tiny", "cpu").engine, TorchEngine)
    del hub.repos["org/tiny"]
    assert featherseg.load("org/tiny", "cpu").classes == CLASSES
    assert "no such repository" in refusal("org/tiny@v2")


def test_both_parts_of_an_openvino_file_are_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hub.add("org/tiny", {"tiny.xml": b"<net>", "tiny.bin": b"weights", "model.bin": b"another's"})
    path = hub_files.find(Repository("org/tiny", "tiny"), [".xml"])
    assert path.read_bytes() == b"<net>"
    assert path.with_suffix(".bin").read_bytes() == b"weights"
    assert path.parent.name == first
    path.with_suffix(".bin").unlink()
    assert hub_files.find(Repository("org/tiny", "tiny"), [".xml"]).with_suffix(".bin").is_file()
    hub.add("org/half", {"half.xml": b"<net>"})
    assert "expected half.xml or model.xml; got half.xml" in refusal("org/half", backend="openvino")


def test_revisions(hub: Hub, tmp_path: Path) -> None:
    artefact = Artefact(classes=CLASSES, stride=STRIDE)
    for version in ("v1", "v2"):
        text = replace(artefact, card={"name": version}).to_text()
        commit = hub.add("org/net", {"net.onnx": write_network(tmp_path / "net.onnx", metadata=text).read_bytes()})
        hub.repos["org/net"].refs[version] = commit
    names = [featherseg.load(f"org/net{at}").artefact.card["name"] for at in ("", "@v1", "@v2", "@main", f"@{commit}")]
    assert names == ["v2", "v1", "v2", "v2", "v2"]
    assert "org/net@v3: the repository has no revision 'v3'" in refusal("org/net@v3")


def test_pickled_files_are_never_fetched(hub: Hub) -> None:
    hub.add("org/net", {"pytorch_model.bin": b"\x80\x04.", "net.pth": b"\x80\x04.", "net.bin": b"\x80\x04."})
    said = refusal("org/net")
    assert "expected net.onnx or model.onnx or net.xml" in said or "expected net.onnx or model.onnx or net.saf" in said
    assert "got net.bin, net.pth, pytorch_model.bin: pickled files" in said
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_a_kind_that_cannot_be_run_here_is_named(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/net", {"net.safetensors": checkpoint.read_bytes()})
    assert refusal("org/net", backend="onnxruntime").endswith(
        "net.safetensors: backend torch runs its .safetensors file"
    )
    monkeypatch.setitem(BACKENDS, "torch", Backend(".safetensors", "featherseg_has_no_such_package"))
    assert "after pip install" in refusal("org/net")
    assert "needs the package" in refusal("org/net", backend="torch")
    assert not hub.fetched()


def test_an_unknown_repository_is_one_line_on_the_command_line(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(BUNDLED / "street.jpg"), "--model", "nobody/nothing"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "nobody/nothing: no such file or folder, and no such repository on http" in err


def test_no_network_is_one_line_at_once() -> None:
    start = time.monotonic()
    said = refusal("org/net")
    assert time.monotonic() - start < 5
    assert "cannot be reached (ConnectError" in said or "cannot be reached (ConnectionError" in said
    assert "hf download org/net net.onnx" in said


def test_without_huggingface_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_files, "find_spec", lambda name: None)
    assert refusal("org/net").endswith("needs the package huggingface_hub: pip install 'featherseg[hub]'")


def test_a_network_goes_to_the_hub_and_comes_back(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert featherseg.push_to_hub(run, "org/street", token=TOKEN) == f"{hub.url}/org/street"
    repo = hub.repos["org/street"]
    assert repo.messages == ["street, by featherseg"]  # one commit
    files = repo.commits[repo.refs["main"]]
    assert sorted(files) == ["README.md", "street.jpg", "street.onnx", "street.safetensors"]
    assert not [name for name, content in files.items() if b"secret" in content]
    at(monkeypatch, hub.url, tmp_path / "another")
    for backend in ("onnxruntime", "torch"):
        here, there = (featherseg.load(name, "cpu", backend)(PICTURE) for name in (run, "org/street"))
        np.testing.assert_array_equal(here.mask, there.mask)
        np.testing.assert_array_equal(here.scores, there.scores)
    weights = featherseg.from_pretrained("org/street").state_dict()
    assert all(
        torch.equal(value, weights[name]) for name, value in featherseg.from_pretrained(run).state_dict().items()
    )
    assert capfd.readouterr().err == ""
    featherseg.push_to_hub(run, "org/street", token=TOKEN)
    assert len(repo.messages) == 1  # nothing has changed


def test_the_page_says_what_the_hub_reads(hub: Hub, run: Path) -> None:
    featherseg.push_to_hub(run, "org/street", token=TOKEN)
    repo = hub.repos["org/street"]
    _, front, text = repo.commits[repo.refs["main"]]["README.md"].decode().split("---\n", 2)
    page = yaml.safe_load(front)
    result = page.pop("model-index")[0]["results"][0]
    assert result["dataset"] == {"type": "folder", "name": "folder val"}
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        ("mean_iou", 0.5),
        ("accuracy", 0.75),
    ]
    assert page == {
        "license": "cc-by-nc-4.0",
        "library_name": "featherseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "fast_scnn"],
        "metrics": ["mean_iou", "accuracy"],
    }
    assert text.lstrip().startswith("# mine\n")
    assert "written by a machine" not in text
    for words in ("![what it sees](street.jpg)", 'featherseg.load("org/street")', "- file: street.onnx, 0.01 MB"):
        assert words in text


@pytest.mark.parametrize(
    ("terms", "license"),
    [
        ("CamVid pictures and labels: personal and research use, CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("CC-BY-SA 4.0", "cc-by-sa-4.0"),
        ("PASCAL VOC pictures: the terms of use of Flickr; research", "other"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_data_s_terms_are_the_license(terms: str | None, license: str) -> None:
    assert licence(terms)["license"] == license


def test_names_and_files_go_with_what_lies_beside_them(
    hub: Hub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("FEATHERSEG_WEIGHTS", str(own))
    write_network(own / "tiny.onnx")
    (own / "other.onnx").write_bytes(b"")
    for source in ("tiny", own / "tiny.onnx"):
        featherseg.push_to_hub(source, f"org/{Path(source).suffix[1:] or 'name'}-net", token=TOKEN, private=True)
    for name in ("name-net", "onnx-net"):
        repo = hub.repos[f"org/{name}"]
        assert repo.private
        assert sorted(repo.commits[repo.refs["main"]]) == ["README.md", f"{name}.onnx"]
    assert "no such repository" in refusal("org/name-net")  # who has no token sees nothing
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert featherseg.load("org/name-net").classes == CLASSES


def test_the_card_alone_becomes_the_page_and_names_are_whole_words(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    note = tmp_path / "net.md"
    note.write_text("# private\n")
    repository = Repository("org/big", "big")
    assert "private" not in readme(packed(path), repository)
    note.write_text(f"{MARK}\n# net\n\nnet.onnx, 1 MB; better than subnet.onnx\n")
    assert "big.onnx, 1 MB; better than subnet.onnx" in readme(packed(path), repository)


def test_what_is_no_network_of_ours_is_refused_before_anything_is_sent(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: str | Path, repo_id: str = "org/net", **options: object) -> str:
        with pytest.raises(FeathersegError) as caught:
            featherseg.push_to_hub(source, repo_id, token=TOKEN, **options)  # type: ignore[arg-type]
        return str(caught.value)

    write_network(tmp_path / "foreign.onnx", foreign=True)
    (tmp_path / "broken.safetensors").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    assert "says nothing of its classes" in refused("foreign.onnx")
    assert "no readable checkpoint" in refused(tmp_path / "broken.safetensors")
    assert "holds no trained network" in refused("empty")
    assert "expected a name, a run directory or a file" in refused("nowhere/net.pth")
    assert "there are no weights 'affnet-camvit'" in refused("affnet-camvit")
    assert "repo_id; expected ORG/NAME; got 'net'" in refused(run, "net")
    write_network(run / "mine.onnx")  # of another training: an empty card
    assert "are not of the same training" in refused(run)
    assert hub.requests == []


def test_a_repository_keeps_no_file_of_an_earlier_network(hub: Hub, run: Path, tmp_path: Path) -> None:
    hub.add("org/net", {"model.onnx": b"of last year"})
    (run / "mine.onnx").rename(tmp_path / "mine.onnx")
    with pytest.raises(FeathersegError, match=r"would keep model\.onnx of an earlier network"):
        featherseg.push_to_hub(run, "org/net", token=TOKEN)
    with pytest.raises(FeathersegError, match="exists and is public"):
        featherseg.push_to_hub(run, "org/net", token=TOKEN, private=True)
    with pytest.raises(FeathersegError, match=r"does not let you write there \(401\): log in by hf auth login"):
        featherseg.push_to_hub(run, "org/new")
    assert list(hub.repos) == ["org/net"]


def test_pushing_without_network_is_one_line_at_once(run: Path) -> None:
    with pytest.raises(FeathersegError, match=r"org/net: http://127.0.0.1:9 cannot be reached \(Connect"):
        featherseg.push_to_hub(run, "org/net", token=TOKEN)


@pytest.mark.slow
def test_push_here_and_predict_there(run: Path, tmp_path: Path) -> None:
    """As two users would: the environment alone says which hub, whose token, which cache."""
    from PIL import Image

    Image.fromarray(PICTURE).save(tmp_path / "a.png")

    def python(*words: str, home: str, url: str, **others: str) -> str:
        env = environment(tmp_path / home, HF_ENDPOINT=url, **others)
        command = [sys.executable, *words]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    with running() as server:
        program = "import featherseg, sys; print(featherseg.push_to_hub(sys.argv[1], 'org/net', private=True))"
        said = python("-c", program, str(run), home="a", url=server.url, HF_TOKEN=TOKEN)
        assert said == f"{server.url}/org/net\n"
        for model, backend in (("org/net", "onnxruntime"), ("org/net@main", "torch")):
            predict = ("-m", "featherseg.app.cli", "predict", "a.png", "--model", model, "--backend", backend)
            python(*predict, "--out", backend, home="b", url=server.url, HF_TOKEN=TOKEN)
            expected = featherseg.load(run, backend=backend)("a.png").mask
            np.testing.assert_array_equal(read_mask(tmp_path / backend / "a_mask.png"), expected)
