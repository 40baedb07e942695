"""`featherseg predict` as a user runs it."""

from __future__ import annotations

import json
import runpy
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from format_trees import SIZE, TREES, cityscapes_tree, voc_tree, write_picture
from PIL import Image
from tiny_onnx import striped, write_network
from trees import folder_tree

from featherseg.app import predict as verb
from featherseg.app.cli import main
from featherseg.app.sources import unique_names
from featherseg.data import cityscapes, voc
from featherseg.data.masks import Pair
from featherseg.data.submissions import SUBMISSIONS
from featherseg.runtime import Artefact, Classes, Predictor, read_mask
from featherseg.runtime.errors import FeathersegError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, one picture, and a tree of pictures of which one is broken."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.onnx")
    for name in ("street.png", "photos/a.jpg", "photos/sub/b.png", "photos/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(striped(48, 96)).save(tmp_path / name, quality=95)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path


def predict(*words: str) -> int:
    return main(["predict", *words, "--model", "net.onnx"])


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("street.png") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith("street.png: ")
    assert {"red", "green", "blue"} <= set(lines[0].replace(",", " ").split())
    assert lines[-1] == str(Path("predictions/street_overlay.png"))
    assert written(here / "predictions") == ["street_mask.png", "street_overlay.png"]
    mask = read_mask("predictions/street_mask.png")
    assert mask.shape == (48, 96)
    assert mask[24, [8, 48, 88]].tolist() == [0, 1, 2]
    with Image.open(lines[-1]) as overlay:
        assert overlay.size == (96, 48)


def test_a_folder_is_walked_and_results_are_not_read_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert predict("photos", "--out", "photos/results") == 0
        assert written(here / "photos/results") == ["a_mask.png", "a_overlay.png", "b_mask.png", "b_overlay.png"]
    assert capsys.readouterr().out.splitlines()[-1] == str(Path("photos/results/b_overlay.png"))


def test_json_alone_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("street.png", "photos", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [item["source"] for item in value["pictures"]] == ["street.png", "photos/a.jpg", "photos/sub/b.png"]
    assert value["failed"] == []
    first = value["pictures"][0]
    assert first["size"] == [48, 96]
    assert sum(first["classes"].values()) == pytest.approx(1)
    assert Path(first["mask"]).is_file()


def test_a_broken_file_in_a_folder_is_listed_and_the_rest_is_done(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (here / "photos/a.jpg").read_bytes()
    (here / "photos/0broken.jpg").write_bytes(whole[: len(whole) // 2])
    assert predict("photos") == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert str(Path("photos/0broken.jpg")) in err
    assert written(here / "predictions") == ["a_mask.png", "a_overlay.png", "b_mask.png", "b_overlay.png"]
    assert out.splitlines()[-1].endswith("b_overlay.png")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["broken.png"], "broken.png"),
        (["nowhere.png"], "no such file"),
        (["empty"], "no pictures"),
        (["clip.mp4", "--submission", "voc"], "is a video; expected pictures for a test server"),
        (["street.png", "--smooth", "0.5"], "--smooth 0.5; expected a video among the sources"),
        (["street.png", "--draft"], "an overlay needs the whole picture: add --write masks"),
        (["street.png", "--submission", "voc", "--write", "masks"], "--write masks; expected no --submission"),
        (["street.png", "--size", "big"], "720x960"),
        (["street.png", "--size", "0x3"], "720x960"),
        (["street.png", "--out", "net.onnx"], "expected a folder"),
        (["street.png", "--backend", "torch"], "backend torch"),
        ([], "SOURCE"),
        (["--split", "val"], "--root"),
        (["--data", "voc"], "--root"),
        (["street.png", "--root", "photos"], "no SOURCE"),
        (["--root", "photos"], "no known layout"),
        (["street.png", "--submission"], "no test server is known for the pictures given"),
    ],
)
def test_a_mistake_is_one_line_exit_2_and_nothing_written(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], match: str
) -> None:
    (here / "broken.png").write_bytes(b"hello")
    (here / "clip.mp4").write_bytes(b"hello")
    (here / "empty").mkdir()
    before = sorted(here.rglob("*"))
    try:
        code = predict(*words)
    except SystemExit as stop:  # argparse's own way
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert match in err
    assert sorted(here.rglob("*")) == before


def test_an_unknown_model_names_the_known_ones(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "weights").mkdir()
    shutil.copy(here / "net.onnx", here / "weights/tiny-rgb.onnx")
    assert main(["predict", "street.png", "--model", "tiny-rbg"]) == 2
    assert "did you mean 'tiny-rgb'" in capsys.readouterr().err
    assert main(["predict", "street.png", "--model", "tiny-rgb"]) == 0


def test_size_changes_what_the_network_sees(here: Path) -> None:
    for size in ("own", "64x80"):
        assert predict("street.png", "--size", size) == 0
        assert read_mask("predictions/street_mask.png").shape == (48, 96)


def test_masks_or_overlays_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("photos", "--write", "masks", "--json") == 0
    assert written(here / "predictions") == ["a_mask.png", "b_mask.png"]
    items = json.loads(capsys.readouterr().out)["pictures"]
    assert all("overlay" not in item for item in items)
    assert predict("photos", "--write", "masks") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(Path("predictions/b_mask.png"))
    assert predict("photos", "--write", "overlays", "--out", "seen") == 0
    assert written(here / "seen") == ["a_overlay.png", "b_overlay.png"]


def test_drafts_of_large_photos(here: Path) -> None:
    Image.fromarray(striped(720, 960)).save("large.jpg", quality=95)
    for words, out in (((), "full"), (("--draft",), "draft")):
        assert predict("large.jpg", "--size", "96x128", "--write", "masks", "--out", out, *words) == 0
    full, draft = read_mask("full/large_mask.png"), read_mask("draft/large_mask.png")
    assert full.shape == draft.shape == (720, 960)
    assert (full == draft).mean() > 0.98


def test_a_source_is_never_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("street.png", "photos/a_mask.png")
    before = (here / "photos/a_mask.png").read_bytes()
    assert predict("photos", "--out", "photos") == 2
    assert "over a source" in capsys.readouterr().err
    assert (here / "photos/a_mask.png").read_bytes() == before


def test_results_of_an_earlier_run_are_replaced(here: Path) -> None:
    assert predict("street.png") == 0
    Image.fromarray(striped(48, 96)[:, ::-1]).save("street.png")
    assert predict("street.png") == 0
    assert read_mask("predictions/street_mask.png")[24, 8] == 2
    assert len(written(here / "predictions")) == 2


def test_pictures_that_share_a_name_are_told_apart(here: Path) -> None:
    for name in ("photos/a.png", "photos/sub/a.jpg"):
        Image.fromarray(striped(48, 96)).save(name)
    assert predict("photos", "photos/a.png") == 0  # the same picture twice counts once
    masks = [name for name in written(here / "predictions") if name.endswith("_mask.png")]
    assert masks == ["a.png_mask.png", "b_mask.png", "photos_a.jpg_mask.png", "sub_a.jpg_mask.png"]


def test_a_split_of_a_data_set(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_tree(here / "data")
    assert predict("--root", "data", "--split", "val") == 0
    assert [name for name in written(here / "predictions") if "mask" in name] == ["photo0_mask.png", "photo1_mask.png"]
    shutil.rmtree("data/masks/val")  # labels are not needed
    assert predict("--data", "folder", "--root", "data", "--split", "val", "--json") == 0
    assert predict("--root", "data") == 2
    assert "images/test" in capsys.readouterr().err.replace("\\", "/")
    assert predict("--root", "data", "--split", "val", "--submission") == 2
    assert "no test server is known for folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", TREES)
def test_every_format_can_be_predicted(here: Path, name: str) -> None:
    TREES[name](here / "data")
    assert predict("--root", "data", "--split", "train") == 0
    masks = [read_mask(path) for path in (here / "predictions").glob("*_mask.png")]
    assert len(masks) == (4 if name == "voc_aug" else 3)
    assert {mask.shape for mask in masks} == {SIZE}


def knowing(classes: Classes) -> Predictor:
    """A network that sees the classes in turn, block after block of 8x8, from one that depends on the picture."""

    def engine(picture: np.ndarray) -> np.ndarray:
        height, width = -(-picture.shape[0] // 8), -(-picture.shape[1] // 8)
        found = (np.arange(height * width).reshape(height, width) + int(picture.sum())) % len(classes)
        return np.eye(len(classes), dtype=np.float32)[found].transpose(2, 0, 1)

    return Predictor(engine, Artefact(classes=classes, stride=8))


def submit(monkeypatch: pytest.MonkeyPatch, classes: Classes, *words: str) -> int:
    monkeypatch.setattr(verb, "load", lambda *_, **__: knowing(classes))
    return main(["predict", *words])


def test_a_submission_to_cityscapes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = cityscapes_tree(here / "data")
    assert submit(monkeypatch, cityscapes.CLASSES, "--root", "data", "--split", "test", "--submission") == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[-1], err) == (str(Path("predictions/cityscapes.zip")), "")
    names = ["berlin_000000_000019_pred_labelIds.png", "berlin_000001_000019_pred_labelIds.png"]
    assert written(here / "predictions") == [*names, "cityscapes.zip"]
    with zipfile.ZipFile("predictions/cityscapes.zip") as archive:
        assert archive.namelist() == names
    reader, shown = cityscapes.CityscapesMasks(), set()
    for index, name in enumerate(names):
        source = root / f"leftImg8bit/test/berlin/berlin_{index:06d}_000019_leftImg8bit.png"
        with Image.open(here / "predictions" / name) as image:
            assert (image.mode, image.size) == ("L", SIZE[::-1])
            assert set(np.unique(np.asarray(image))) <= set(cityscapes.LABEL_IDS)
        again = reader.read(Pair(source, here / "predictions" / name), SIZE)
        expected = knowing(cityscapes.CLASSES)(source).mask
        assert again.faults == ()
        assert (again.ids == expected).all()
        shown |= set(np.unique(expected).tolist())
    assert shown == set(range(19))


@pytest.mark.parametrize("name", ["voc", "voc_aug"])
def test_a_submission_to_voc(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    TREES[name](here / "data")
    assert submit(monkeypatch, voc.CLASSES, "--root", "data", "--submission", "--out", "sent", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["archive"] == str(Path("sent/results.tar.gz"))
    inside = [f"results/VOC2012/Segmentation/comp6_test_cls/2007_test{index}.png" for index in (0, 1)]
    assert [item["mask"] for item in value["pictures"]] == [str(Path("sent", path)) for path in inside]
    with tarfile.open("sent/results.tar.gz") as archive:
        assert archive.getnames() == inside
    masks = voc.open_voc(here / "data", "test").masks
    for item in value["pictures"]:
        with Image.open(item["mask"]) as image:
            assert image.mode == "P"
            assert image.getpalette()[15 * 3 : 16 * 3] == [192, 128, 128]
        again = masks.read(Pair(Path(item["source"]), Path(item["mask"])), SIZE)
        assert again.faults == ()
        assert (again.ids == knowing(voc.CLASSES)(item["source"]).mask).all()


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_server_is_never_sent_an_ignored_pixel(tmp_path: Path, name: str) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[3, 4] = 255
    with pytest.raises(FeathersegError, match="got 255"):
        SUBMISSIONS[name].write(mask, tmp_path / "a.png")
    assert written(tmp_path) == []


def test_a_submission_of_other_classes_or_names_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cityscapes_tree(here / "data")
    voc_tree(here / "objects")
    write_picture(here / "again/berlin_000001_000019.png", "x", 0)
    swapped = Classes(names=(*cityscapes.CLASSES.names[1::-1], *cityscapes.CLASSES.names[2:]))
    picture = "data/leftImg8bit/test/berlin/berlin_000001_000019_leftImg8bit.png"
    for classes, words, match in (
        (swapped, ("--root", "data", "--submission"), "its classes are not those of Cityscapes; expected road, sid"),
        (voc.CLASSES, ("--root", "data", "--submission"), "its classes are not those of Cityscapes"),
        (cityscapes.CLASSES, ("--root", "objects", "--submission", "cityscapes"), "no picture of Cityscapes"),
        (cityscapes.CLASSES, (picture, "again", "--submission", "cityscapes"), "has the same result"),
    ):
        assert submit(monkeypatch, classes, *words) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert match in err
    assert not (here / "predictions").exists()


def test_a_submission_with_a_broken_picture_is_not_packed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = cityscapes_tree(here / "data")
    (root / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png").write_bytes(b"hello")
    assert submit(monkeypatch, cityscapes.CLASSES, "--root", "data", "--submission") == 1
    out, err = capsys.readouterr()
    assert "berlin_000000_000019_leftImg8bit.png" in err
    assert "zip" not in out
    assert written(here / "predictions") == ["berlin_000001_000019_pred_labelIds.png"]


def test_unique_names() -> None:
    def names(*paths: str) -> list[str]:
        return unique_names([Path("/") / path for path in paths])

    assert names("x/a.jpg", "x/b.jpg") == ["a", "b"]
    assert names("x/a.jpg", "x/a.png", "x/c.png") == ["a.jpg", "a.png", "c"]
    assert names("x/a.jpg", "y/a.jpg") == ["x_a.jpg", "y_a.jpg"]
    assert names("x/A.jpg", "x/a.png") == ["A.jpg", "a.png"]
    assert names("x/a.jpg.png", "x/a.jpg", "x/a.png") == ["a.jpg.png", "x_a.jpg", "a.png"]
    crossing = names("p_q/r.jpg", "p/q_r.jpg", "s/r.jpg", "s/q_r.jpg", "p_q/r.png", "p/q_r.png")
    assert len(set(crossing)) == 6


def test_an_upright_mask_for_a_rotated_photo(here: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(striped(48, 96)))).save("turned.png", exif=exif)
    assert predict("turned.png") == 0
    assert read_mask("predictions/turned_mask.png").shape == (48, 96)


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "featherseg predict street.jpg" in text
    assert "720x960" in text


def test_the_example(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "predict.py"))
    example["main"]("street.png", "net.onnx", ".")
    assert {"red", "green", "blue"} <= set(capsys.readouterr().out.split())
    assert Path("street_mask.png").is_file()
    assert Path("street_overlay.png").is_file()
