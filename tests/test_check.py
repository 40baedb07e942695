"""check-data finds every planted fault and nothing else; --fix writes a sound copy and leaves the source alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import camvid_tree, folder_tree, scene

from featherseg.app.cli import main
from featherseg.data import open_data
from featherseg.data.check import check_data
from featherseg.data.leaks import Album, find_leaks, fingerprint, refuse_leaks, same_picture
from featherseg.data.masks import FAULTS
from featherseg.data.objects import count_classes, count_labels, find_objects
from featherseg.data.repair import repair, same_aspect
from featherseg.losses import frequency_weights, object_weights
from featherseg.runtime.errors import FeathersegError

EXIF_ORIENTATION = 0x0112


def found(tree: Path, format: str = "folder") -> set[tuple[str, str]]:
    """(file as seen from the tree, kind) of every fault."""
    return {(str(file.relative_to(tree)), kind) for file, kind, _ in check_data(tree, format).faults}


def mask_of(tree: Path, split: str = "train", index: int = 1) -> Path:
    return tree / "masks" / split / f"photo{index}.png"


def ids_of(tree: Path, split: str = "train", index: int = 1) -> np.ndarray:
    return np.asarray(Image.open(mask_of(tree, split, index))).copy()


def write(pixels: np.ndarray, path: Path, format: str = "PNG", **options: object) -> None:
    Image.fromarray(pixels).save(path, format, **options)


def fingerprints_of(tree: Path) -> dict[Path, str]:
    """Every file's bytes."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(tree.rglob("*")) if path.is_file()}


def palette_mask(ids: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


# What is planted in train/photo1, and what is to be found; None where it is no fault.
IMAGE, MASK = "images/train/photo1.jpg", "masks/train/photo1.png"
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]] + [[7, 7, 7]] * 253)


def as_jpeg(tree: Path) -> None:
    write(ids_of(tree), mask_of(tree), "JPEG")


def as_named_jpeg(tree: Path) -> None:
    write(ids_of(tree), mask_of(tree).with_suffix(".jpg"), "JPEG")
    mask_of(tree).unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_stray(tree: Path) -> None:
    ids = ids_of(tree)
    ids[40:50, 30:40] = 9
    write(ids, mask_of(tree))


def sixteen_bits(tree: Path) -> None:
    ids = ids_of(tree).astype(np.uint16)
    ids[40:50, 30:40] = 300
    write(ids, mask_of(tree))


def swapped(tree: Path) -> None:
    write(np.ascontiguousarray(ids_of(tree).T), mask_of(tree))


def resized(height: int, width: int) -> Callable[[Path], None]:
    def change(tree: Path) -> None:
        Image.fromarray(ids_of(tree)).resize((width, height), Image.Resampling.NEAREST).save(mask_of(tree))

    return change


def gray24(tree: Path) -> None:
    write(ids_of(tree)[..., None].repeat(3, 2), mask_of(tree))


def rgba(tree: Path) -> None:
    write(np.dstack([COLOURS[ids_of(tree) % 255], np.full((72, 96), 255)]).astype(np.uint8), mask_of(tree))


PLANTED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "mask as JPEG under .png": (as_jpeg, MASK, "lossy-mask"),
    "mask as JPEG under .jpg": (as_named_jpeg, "masks/train/photo1.jpg", "lossy-mask"),
    "picture cut off": (lambda tree: cut_off(tree / IMAGE), IMAGE, "unreadable"),
    "mask cut off": (lambda tree: cut_off(tree / MASK), MASK, "unreadable"),
    "picture empty": (lambda tree: (tree / IMAGE).write_bytes(b""), IMAGE, "unreadable"),
    "mask empty": (lambda tree: (tree / MASK).write_bytes(b""), MASK, "unreadable"),
    "text called .png": (lambda tree: (tree / MASK).write_text("no picture\n"), MASK, "unreadable"),
    "picture without mask": (lambda tree: (tree / MASK).unlink(), IMAGE, "unpaired"),
    "mask without picture": (lambda tree: (tree / IMAGE).unlink(), MASK, "unpaired"),
    "strange id": (with_stray, MASK, "id-out-of-range"),
    "16 bits with 300": (sixteen_bits, MASK, "id-out-of-range"),
    "swapped sides": (swapped, MASK, "size-mismatch"),
    "half size": (resized(36, 48), MASK, "size-mismatch"),
    "one row off": (resized(71, 96), MASK, "size-mismatch"),
    "24-bit gray": (gray24, MASK, "colour-mask"),
    "colours": (lambda tree: write(COLOURS[ids_of(tree) % 255].astype(np.uint8), mask_of(tree)), MASK, "colour-mask"),
    "colours and alpha": (rgba, MASK, "colour-mask"),
    "0 and 255": (lambda tree: write((ids_of(tree) > 0) * np.uint8(255), mask_of(tree)), MASK, "binary-mask"),
    "255 alone": (lambda tree: write(np.full((72, 96), 255, np.uint8), mask_of(tree)), MASK, "all-ignore"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_fault_is_found_alone_and_refused_by_training_in_the_same_words(tmp_path: Path, name: str) -> None:
    plant, file, kind = PLANTED[name]
    tree = folder_tree(tmp_path)
    plant(tree)
    assert found(tree) == {(file, kind)}
    fault = check_data(tree).faults[0]
    with pytest.raises(FeathersegError) as refused:
        open_data(tree, "folder", "train").in_memory()
    assert str(refused.value) == str(fault.error())


def upper_case(tree: Path) -> None:
    (tree / IMAGE).rename(tree / "images/train/photo1.JPG")
    mask_of(tree).rename(tree / "masks/train/photo1.PNG")


def turned(tree: Path) -> None:
    """The picture lies on its side with a note how to hold it; its mask is upright."""
    picture = Image.open(tree / IMAGE).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    picture.save(tree / IMAGE, quality=95, exif=exif)
    assert Image.open(tree / IMAGE).size == (72, 96)


def litter(tree: Path) -> None:
    for folder in ("images/train", "masks/val"):
        for name in (".hidden.png", "Thumbs.db", ".DS_Store", "notes.txt"):
            (tree / folder / name).write_bytes(b"x")


def other_ignore(tree: Path) -> None:
    (tree / "classes.yaml").write_text("names: [background, cat, dog]\nignore_index: 200\n")
    for path in (tree / "masks").rglob("*.png"):
        ids = np.asarray(Image.open(path))
        write(np.where(ids == 255, 200, ids).astype(np.uint8), path)


SOUND: dict[str, Callable[[Path], object]] = {
    "nothing changed": lambda tree: None,
    "upper-case suffixes": upper_case,
    "EXIF orientation": turned,
    "hidden files and litter": litter,
    "another ignore index": other_ignore,
    "palette of other colours": lambda tree: palette_mask(ids_of(tree), 255 - COLOURS).save(mask_of(tree)),
    "16-bit ids": lambda tree: write(ids_of(tree).astype(np.uint16), mask_of(tree)),
    "a twin within a split": lambda tree: [
        shutil.copy(tree / kind / "train" / f"photo1{end}", tree / kind / "train" / f"again{end}")
        for kind, end in (("images", ".jpg"), ("masks", ".png"))
    ],
    "allowed": lambda tree: [
        write((ids_of(tree) > 0) * np.uint8(255), mask_of(tree)),
        (tree / "classes.yaml").write_text("names: [background, cat, dog]\nallow: [binary-mask]\n"),
    ],
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_no_fault_is_not_found(tmp_path: Path, name: str) -> None:
    tree = folder_tree(tmp_path)
    SOUND[name](tree)
    assert found(tree) == set()
    assert main(["check-data", "--root", str(tree), "--json"]) == 0


def test_a_twin_within_a_split_is_a_note(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    SOUND["a twin within a split"](tree)
    assert "train: 1 picture twice in this split" in check_data(tree).notes


def test_camvid_without_faults(tmp_path: Path) -> None:
    assert found(camvid_tree(tmp_path), "camvid") == set()


def test_an_ignore_index_that_is_not_255_makes_255_a_strange_id(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    (tree / "classes.yaml").write_text("names: [background, cat, dog]\nignore_index: 200\n")
    assert {kind for _, kind in found(tree)} == {"id-out-of-range"}  # every mask has its corner of 255


def test_colour_coded_masks(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "data")
    (tree / "classes.yaml").write_text(
        "names: [background, cat, dog]\ncolors: {background: [0, 0, 0], cat: [128, 0, 0], dog: [0, 128, 0]}\n"
    )
    for path in (tree / "masks").rglob("*.png"):
        ids = np.asarray(Image.open(path)) % 255
        write(COLOURS[ids].astype(np.uint8), path)
    assert found(tree) == set()
    pixels = np.asarray(Image.open(mask_of(tree))).copy()
    pixels[5:8, 5:8] = (1, 2, 3)
    write(pixels, mask_of(tree))
    blurred = Image.open(mask_of(tree, index=2)).resize((48, 36)).resize((96, 72), Image.Resampling.BICUBIC)
    blurred.save(mask_of(tree, index=2))
    assert found(tree) == {(MASK, "id-out-of-range"), ("masks/train/photo2.png", "lossy-mask")}
    repair(check_data(tree), tmp_path / "out")
    assert found(tmp_path / "out") == set()
    fixed = np.asarray(Image.open(tmp_path / "out" / MASK))
    expected = np.array([0, 1, 2])[(pixels[..., 0] > 9) + 2 * (pixels[..., 1] > 9)]
    expected[5:8, 5:8] = 255
    assert (fixed == expected).all()
    assert "colors" not in (tmp_path / "out" / "classes.yaml").read_text()


def two_classes(tree: Path, value: int) -> dict[Path, np.ndarray]:
    """The tree with a cat alone, written as `value`; mask -> where the cat is."""
    (tree / "classes.yaml").write_text("names: [background, cat]\n")
    cats = {}
    for path in sorted((tree / "masks").rglob("*.png")):
        cats[path] = (np.asarray(Image.open(path)) % 255) > 0
        write(cats[path].astype(np.uint8) * value, path)
    small = next(iter(cats))
    cats[small] = np.zeros((72, 96), bool)
    cats[small][3:7, 3:7] = True  # 0.2 %: as thin as an ignored rim
    write(cats[small].astype(np.uint8) * value, small)
    return cats


def test_a_binary_set_is_found_whole_and_mended(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "data")
    cats = two_classes(tree, 255)
    assert found(tree) == {(str(path.relative_to(tree)), "binary-mask") for path in cats}
    before = fingerprints_of(tree)
    assert main(["check-data", "--root", str(tree), "--fix", str(tmp_path / "out"), "--json"]) == 0
    for path, cat in cats.items():
        assert (np.asarray(Image.open(tmp_path / "out" / path.relative_to(tree))) == cat).all()
    assert fingerprints_of(tree) == before


def test_a_two_class_set_with_ignored_rims_is_sound(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    two_classes(tree, 1)
    ids = ids_of(tree)
    ids[:] = 0
    ids[:2, :3] = 255
    write(ids, mask_of(tree))
    assert found(tree) == set()


def test_a_gray_binary_mask_becomes_one_of_ids(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "data")
    cats = two_classes(tree, 1)
    cat = cats[mask_of(tree)]
    write((cat * np.uint8(255))[..., None].repeat(3, 2), mask_of(tree))
    repair(check_data(tree), tmp_path / "out")
    assert (np.asarray(Image.open(tmp_path / "out" / MASK)) == cat).all()


def test_a_missing_class_is_named_for_train_and_val_but_not_for_test(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    for split in ("val", "test"):
        (tree / "images" / split).mkdir(exist_ok=True)
        (tree / "masks" / split).mkdir(exist_ok=True)
    for index in range(2):
        ids = ids_of(tree, "val", index)
        ids[ids == 2] = 1
        write(ids, mask_of(tree, "val", index))
    image, mask = scene(np.random.default_rng(9), 72, 96)
    write(image, tree / "images" / "test" / "a.png")
    write(mask * 0, tree / "masks" / "test" / "a.png")
    assert found(tree) == {("masks/val", "missing-class")}
    assert "val split shows class 'dog' (id 2)" in check_data(tree).faults[0].detail


def test_a_split_that_cannot_be_opened_does_not_stop_the_others(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    (tree / "images" / "test").mkdir()
    cut_off(tree / IMAGE)
    assert found(tree) == {("images/test", "unreadable"), (IMAGE, "unreadable")}


def test_pictures_without_labels_are_read(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    (tree / "images" / "test").mkdir()
    image = scene(np.random.default_rng(9), 72, 96)[0]
    write(image, tree / "images" / "test" / "a.png")
    assert found(tree) == set()
    cut_off(tree / "images" / "test" / "a.png")
    shutil.copy(tree / IMAGE, tree / "images" / "test" / "b.jpg")
    assert found(tree) == {("images/test/a.png", "unreadable"), ("images/test/b.jpg", "leak")}


def leaked(tree: Path, name: str, **options: object) -> None:
    """train/photo1 in val, under another name."""
    target = tree / "images" / "val" / name
    if options:
        Image.open(tree / IMAGE).save(target, **options)
    else:
        shutil.copy(tree / IMAGE, target)
    shutil.copy(mask_of(tree), tree / "masks" / "val" / f"{target.stem}.png")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("copy.jpg", {}),
        ("same.png", {"format": "PNG"}),
        ("same.bmp", {"format": "BMP"}),
        ("high.jpg", {"quality": 95}),
        ("low.jpg", {"quality": 75}),
        ("web.webp", {"quality": 75}),
    ],
)
def test_a_leak_is_found_whatever_its_name_and_encoding(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    tree = folder_tree(tmp_path / "data")
    leaked(tree, name, **options)
    assert found(tree) == {(f"images/val/{name}", "leak")}
    fault = check_data(tree).faults[0]
    assert str(tree / IMAGE) in fault.detail
    train, val = (open_data(tree, "folder", split) for split in ("train", "val"))
    equal = "encoded anew" not in fault.detail
    for data in (train, train.in_memory()):
        if not equal:  # training says it in the same words, and goes on
            assert refuse_leaks(data, val) == [fault]
            continue
        with pytest.raises(FeathersegError) as refused:
            refuse_leaks(data, val)
        assert str(refused.value) == str(fault.error())
    assert main(["check-data", "--root", str(tree), "--fix", str(tmp_path / "out"), "--json"]) == 0
    assert (tmp_path / "out/images/val" / name).is_file()
    assert not (tmp_path / "out" / IMAGE).exists()


def test_a_twin_stays_where_the_later_picture_goes(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "data")
    leaked(tree, "copy.jpg")
    write(ids_of(tree), tree / "masks" / "val" / "copy.png", "JPEG")
    assert found(tree) == {("images/val/copy.jpg", "leak"), ("masks/val/copy.png", "lossy-mask")}
    assert main(["check-data", "--root", str(tree), "--fix", str(tmp_path / "out"), "--json"]) == 0
    assert (tmp_path / "out" / IMAGE).is_file()
    assert not (tmp_path / "out/images/val/copy.jpg").exists()


def test_training_takes_splits_that_share_nothing(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    steps: list[tuple[int, int]] = []
    train, val = (open_data(tree, "folder", split) for split in ("train", "val"))
    refuse_leaks(train, val, lambda done, total: steps.append((done, total)))
    assert steps == [(done, 8) for done in range(1, 9)]


def pictures_that_differ() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:120, :160]
    ramp = np.clip(columns + rows // 4, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    spot = ramp.copy()
    spot[40:48, 60:68] = 255
    other_spot = ramp.copy()
    other_spot[80:88, 20:28] = 255
    flats = [np.full((120, 160, 3), gray, np.uint8) for gray in (0, 1, 2, 100, 101, 255)]
    noise = [rng.integers(0, 256, (120, 160, 3)).astype(np.uint8) for _ in range(4)]
    faint = [np.clip(128 + rng.normal(0, 6, (120, 160, 3)), 0, 255).astype(np.uint8) for _ in range(4)]
    red, green = ramp // 2, ramp // 2
    red = red + np.array([60, 0, 0], np.uint8)
    green = green + np.array([0, 31, 0], np.uint8)  # of equal luma
    return [ramp, spot, other_spot, 255 - ramp, ramp[::-1], ramp[:, ::-1], red, green, *flats, *noise, *faint]


def test_pictures_that_differ_are_no_leaks() -> None:
    pictures = pictures_that_differ()
    prints = tuple(fingerprint(np.ascontiguousarray(picture)) for picture in pictures)
    albums = [
        Album(split=f"s{n}", files=(Path(str(n)),), prints=(one,), look=lambda _, n=n: pictures[n])
        for n, one in enumerate(prints)
    ]
    assert find_leaks(albums) == []
    again = Album(split="again", files=(Path("again"),), prints=prints[9:10], look=lambda _: pictures[9])
    assert [len(leak.twins) for leak in find_leaks([*albums, again])] == [1]  # a flat one, equal to the bit


def test_a_smaller_copy_is_the_same_picture() -> None:
    image = scene(np.random.default_rng(1), 240, 320)[0]
    small = np.asarray(Image.fromarray(image).resize((160, 120), Image.Resampling.LANCZOS))
    assert same_picture(image, small)
    assert not same_picture(image, np.ascontiguousarray(small[:, ::-1]))


def test_fix_mends_what_needs_no_guessing(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "data", train=12, val=3)
    kept = {index: ids_of(tree, index=index) for index in range(12)}
    kept[1][40:50, 30:40] = 9
    write(kept[1], mask_of(tree, index=1))
    kept[1][kept[1] == 9] = 255
    write(kept[2][..., None].repeat(3, 2), mask_of(tree, index=2))
    half = kept[3][::2, ::2]
    write(np.ascontiguousarray(half), mask_of(tree, index=3))
    kept[3] = half.repeat(2, 0).repeat(2, 1)
    write(np.ascontiguousarray(kept.pop(4).T), mask_of(tree, index=4))
    write((kept.pop(5) > 0) * np.uint8(255), mask_of(tree, index=5))
    write(kept.pop(6) * 0 + 255, mask_of(tree, index=6))
    write(kept.pop(7), mask_of(tree, index=7), "JPEG")
    write(kept.pop(8) * 0 + 77, mask_of(tree, index=8))  # strange ids alone: nothing is left of it
    write(COLOURS[kept.pop(9) % 255].astype(np.uint8), mask_of(tree, index=9))
    cut_off(tree / "images/train/photo10.jpg")
    kept.pop(10)
    mask_of(tree, index=11).unlink()
    kept.pop(11)
    before = fingerprints_of(tree)

    out = tmp_path / "out"
    repaired = repair(check_data(tree), out)
    assert found(out) == set()
    assert fingerprints_of(tree) == before
    assert sorted(path.name for path in (out / "masks/train").iterdir()) == [f"photo{index}.png" for index in kept]
    for index, ids in kept.items():
        assert (np.asarray(Image.open(out / f"masks/train/photo{index}.png")) == ids).all()
        name = f"images/train/photo{index}.jpg"
        assert (out / name).read_bytes() == (tree / name).read_bytes()
    done = {(action.file.name, action.action) for action in repaired.actions}
    assert done >= {
        ("photo1.png", "ids ignored"),
        ("photo2.png", "converted"),
        ("photo3.png", "resized"),
        ("photo4.png", "left out"),
        ("photo6.png", "left out"),
        ("photo7.png", "left out"),
        ("photo9.png", "left out"),
        ("photo10.jpg", "left out"),
        ("photo11.jpg", "left out"),
    }
    assert (out / "fixes.txt").read_text().count("\n") == len(repaired.actions) + 1
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_fix_of_camvid_is_a_folder_that_says_the_same(tmp_path: Path) -> None:
    tree = camvid_tree(tmp_path / "data")
    repair(check_data(tree, "camvid"), tmp_path / "out")
    for split in ("train", "val"):
        old, new = open_data(tree, "camvid", split), open_data(tmp_path / "out", "folder", split)
        assert (new.terms, new.classes.names) == (old.terms, old.classes.names)
        assert all((old.read(i).mask == new.read(i).mask).all() for i in range(len(old)))
    assert found(tmp_path / "out") == set()


def test_fix_of_a_folder_without_splits(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "data")
    for kind in ("images", "masks"):
        shutil.rmtree(tree / kind / "val")
        for path in (tree / kind / "train").iterdir():
            path.rename(tree / kind / path.name)
        (tree / kind / "train").rmdir()
    (tree / "images/photo1.jpg").rename(tree / "images/lonely.jpg")
    assert found(tree) == {("images/lonely.jpg", "unpaired"), ("masks/photo1.png", "unpaired")}
    repair(check_data(tree), tmp_path / "out")
    assert found(tmp_path / "out") == set()
    assert len(open_data(tmp_path / "out", "folder")) == 5


@pytest.mark.parametrize(
    ("mask", "picture", "same"),
    [
        ((36, 48), (72, 96), True),
        ((180, 240), (361, 481), True),
        ((181, 241), (361, 481), True),
        ((71, 96), (72, 96), True),
        ((144, 192), (72, 96), True),
        ((96, 72), (72, 96), False),
        ((10, 12), (72, 96), False),
        ((60, 96), (72, 96), False),
    ],
)
def test_aspects(mask: tuple[int, int], picture: tuple[int, int], same: bool) -> None:
    assert same_aspect(mask, picture) is same


def test_json_says_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = folder_tree(tmp_path)
    with_stray(tree)
    assert main(["check-data", "--data", "folder", "--root", str(tree), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [sorted(fault) for fault in said["faults"]] == [["detail", "file", "kind"]]
    assert said["faults"][0]["file"] == str(tree / MASK)
    assert said["faults"][0]["kind"] in FAULTS
    assert said["splits"]["train"]["pictures"] == 6
    assert said["splits"]["train"]["sizes"] == {"96x72": 6}
    assert said["counted_on"] == "train"
    masks = [ids_of(tree, index=index) for index in (0, 2, 3, 4, 5)]
    shares = np.array([sum((mask == label).sum() for mask in masks) for label in range(3)])
    shares = shares / shares.sum()
    alpha, gamma = object_weights(shares.tolist())
    for label, one in enumerate(said["classes"]):
        assert one["share"] == pytest.approx(shares[label])
        assert one["pictures"] == sum((mask == label).any() for mask in masks)
        assert one["weight"] == pytest.approx(frequency_weights(shares.tolist())[label])
        assert (one["alpha"], one["gamma"]) == pytest.approx((alpha[label], gamma[label]))
        assert one["objects"] >= one["pictures"]


def test_text_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = folder_tree(tmp_path / "data")
    with_stray(tree)
    assert main(["check-data", "--root", str(tree), "--report", str(tmp_path / "report")]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"id-out-of-range (1): {FAULTS['id-out-of-range']}" in captured.out
    assert f"  {MASK}: label 9" in captured.out
    assert "####" in captured.out
    assert Image.open(tmp_path / "report/classes.png").format == "PNG"
    assert json.loads((tmp_path / "report/report.json").read_text())["faults"]
    assert "label 9" in (tmp_path / "report/report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--root", "nowhere"], "there is no such folder"),
        (["--root", "data", "--split", "vall"], "did you mean 'val'"),
        (["--root", "data", "--fix", "data/out"], "outside the data"),
        (["--root", "data", "--fix", "full"], "does not exist or is empty"),
        (["--root", "data", "--fix", "full/file"], "a folder"),
        (["--root", "data", "--data", "foldr"], "choose from"),
        ([], "--root"),
        (["--root", "full"], "no known layout"),
    ],
)
def test_mistakes(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_tree(tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = fingerprints_of(tmp_path)
    try:
        code = main(["check-data", *words])
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert message in said.err
    assert fingerprints_of(tmp_path) == before


def test_a_copy_with_faults_left_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = folder_tree(tmp_path / "data", val=1)
    write(ids_of(tree, "val", 0) * 0, mask_of(tree, "val", 0))
    assert main(["check-data", "--root", str(tree), "--fix", str(tmp_path / "out"), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert {fault["kind"] for fault in said["remaining"]} == {"missing-class"}
    assert said["actions"] == []


def test_only_the_asked_split(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    with_stray(tree)
    assert main(["check-data", "--root", str(tree), "--split", "val", "--json"]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_objects_equal_a_flood_fill(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2 + seed, rng.integers(1, 30, 2)).astype(np.uint8)
    objects = find_objects(mask)
    assert sorted(zip(objects.labels.tolist(), objects.sizes.tolist(), strict=True)) == flood_fill(mask)


def flood_fill(mask: np.ndarray) -> list[tuple[int, int]]:
    """The second writing: from each pixel to its equal neighbours."""
    left = {(int(row), int(column)) for row, column in np.ndindex(*mask.shape)}
    regions = []
    while left:
        first = left.pop()
        queue, size = [first], 1
        while queue:
            row, column = queue.pop()
            for near in [(row + a, column + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if near in left and mask[near] == mask[first]:
                    left.remove(near)
                    queue.append(near)
                    size += 1
        regions.append((int(mask[first]), size))
    return sorted(regions)


def test_objects_of_large_masks_are_counted_on_a_thinned_one() -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    mask[100:200, 100:300] = 1
    mask[600:800, 600:700] = 1
    objects = find_objects(mask)
    assert objects.factor == 2
    assert sorted(objects.sizes[objects.labels == 1].tolist()) == [20000, 20000]
    counts = count_classes(("a", "b"), [(count_labels(mask), objects)])
    assert (counts[1].objects, counts[1].median_size, counts[1].pixels) == (2, 20000, 40000)


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherseg.data.looks.MUCH", 1)
    tree = folder_tree(tmp_path)
    with_stray(tree)
    alone, together = (check_data(tree, workers=workers) for workers in (0, 2))
    assert together.faults == alone.faults
    assert together.splits[0].count() == alone.splits[0].count()
