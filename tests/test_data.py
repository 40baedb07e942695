"""Readers on generated trees in their true layouts; augmentation moves picture and mask together."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import COLOURS, camvid_tree, folder_tree, scene

from featherseg.data import class_frequencies, detect_format, open_data
from featherseg.data.augment import Augment, every_fourth, resized
from featherseg.data.loading import Augmented, Loader, Order
from featherseg.data.masks import ColourMasks
from featherseg.runtime.classes import Classes
from featherseg.runtime.decoding import RawMask
from featherseg.runtime.errors import FeathersegError


def test_camvid_void_becomes_ignore(tmp_path: Path) -> None:
    data = open_data(camvid_tree(tmp_path), "auto", "val")
    assert (data.name, len(data), len(data.classes)) == ("camvid", 3, 11)
    sample = data.read(0)
    raw = np.asarray(Image.open(data.pairs[0].mask))
    assert (sample.mask == np.where(raw == 11, 255, raw)).all()
    assert sample.image.shape == (60, 80, 3)


def test_folder_with_and_without_splits(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path / "split")
    assert detect_format(tree) == "folder"
    assert [len(open_data(tree, "folder", split)) for split in ("train", "val")] == [6, 2]
    flat = folder_tree(tmp_path / "flat")
    for kind in ("images", "masks"):
        for path in (flat / kind / "val").iterdir():
            path.rename(flat / kind / path.name)
        for path in (flat / kind / "train").iterdir():
            path.unlink()
        (flat / kind / "train").rmdir()
        (flat / kind / "val").rmdir()
    data = open_data(flat, "folder", "train")
    assert (len(data), data.split) == (2, "all")


def test_colour_coded_masks(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    (tree / "classes.yaml").write_text(
        "names: [background, cat, dog]\ncolors: {background: [0, 0, 0], cat: [64, 0, 0], dog: [0, 64, 9]}\n"
    )
    table = np.array([[0, 0, 0], [64, 0, 0], [0, 64, 9]], np.uint8)
    expected = {}
    for split in ("train", "val"):
        for path in (tree / "masks" / split).iterdir():
            ids = np.asarray(Image.open(path)) % 255
            expected[split, path.stem] = ids
            Image.fromarray(table[ids]).save(path)
    data = open_data(tree, "folder", "val")
    for index in range(len(data)):
        sample = data.read(index)
        assert (sample.mask == expected["val", sample.name]).all()
    broken = data.pairs[1].mask
    pixels = np.asarray(Image.open(broken)).copy()
    pixels[3, 5] = (1, 2, 3)
    Image.fromarray(pixels).save(broken)
    with pytest.raises(FeathersegError, match=r"photo1\.png: colour \(1, 2, 3\) at pixel \(x=5, y=3\)"):
        data.read(1)


RED, GREEN, WHITE, RIM = (128, 0, 0), (0, 128, 0), (255, 255, 255), (224, 224, 192)
SWAPPED = {(0, 0, 0): 0, RED: 2, GREEN: 1, RIM: 255}  # not in the order of VOC's palette
VOC_LIKE = np.array([(0, 0, 0), RED, GREEN, (128, 128, 0)] + [(9, 9, 9)] * 251 + [RIM], np.uint8)
OTHER = np.array([(0, 0, 0), (7, 7, 7), (8, 8, 8)] + [(9, 9, 9)] * 253, np.uint8)
BLACK_CAT = {WHITE: 0, (0, 0, 0): 1}


@pytest.mark.parametrize(
    ("colours", "palette", "values", "expected"),
    [
        (SWAPPED, VOC_LIKE, [0, 1, 2], [0, 2, 1]),  # what a palette shows counts
        (SWAPPED, VOC_LIKE, [0, 1, 255], [0, 2, 255]),
        (SWAPPED, VOC_LIKE, [0, 1, 3], "colour (128, 128, 0) at pixel (x=2, y=0) is no class"),
        ({(0, 0, 0): 0, RED: 2, GREEN: 1}, VOC_LIKE, [0, 1, 255], "colour (224, 224, 192)"),
        (SWAPPED, OTHER, [0, 1, 2], [0, 1, 2]),  # black alone is in the table: indices
        (SWAPPED, None, [0, 1, 2], [0, 1, 2]),
        (SWAPPED, None, [0, 0, 255], "a mask of 0 and 255 alone"),
        (BLACK_CAT, None, [0, 255, 255], [1, 0, 0]),
        (BLACK_CAT, None, [0, 255, 9], "colour (9, 9, 9)"),
        (BLACK_CAT, None, [0, 1, 255], [0, 1, 255]),
        (BLACK_CAT, None, [0, 1, 300], "label 300"),
    ],
)
def test_a_table_of_colours_reads_palettes_and_grays(
    colours: dict[tuple[int, int, int], int],
    palette: np.ndarray | None,
    values: list[int],
    expected: list[int] | str,
) -> None:
    classes = Classes(names=("background", "cat", "dog"))
    reader = ColourMasks(colours, classes=classes, doubt_binary=True)
    pixels = np.array([values], np.uint8 if max(values) < 256 else np.int32)
    read = reader.interpret(Path("mask.png"), RawMask(pixels, palette, lossy=False))
    if isinstance(expected, str):
        (fault,) = read.faults
        assert expected in fault.detail
    else:
        assert (read.faults, read.ids.tolist()) == ((), [expected])


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("colors: {a: [1, 2, 3], b: [1, 2, 3]}", r"colors; expected one for each class; got \(1, 2, 3\) for a and b"),
        ("colors: {other: [1, 2, 3]}", "colors of class; expected one of a, b, ignore"),
        ("names: [no, yes]", "YAML's false: put words like 'no' and 'yes' in quotes"),
    ],
)
def test_what_classes_yaml_may_not_say(tmp_path: Path, line: str, match: str) -> None:
    tree = folder_tree(tmp_path)
    names = "" if line.startswith("names") else "names: [a, b]\n"
    (tree / "classes.yaml").write_text(f"{names}{line}\n")
    with pytest.raises(FeathersegError, match=match):
        open_data(tree, "folder", "train")


def test_a_colour_may_be_ignored(tmp_path: Path) -> None:
    tree = folder_tree(tmp_path)
    (tree / "classes.yaml").write_text("names: [a, b]\ncolors: {a: [0, 0, 0], b: [1, 2, 3], ignore: [4, 5, 6]}\n")
    data = open_data(tree, "folder", "val")
    pixels = np.zeros((72, 96, 3), np.uint8)
    pixels[:9], pixels[9:20] = (1, 2, 3), (4, 5, 6)
    Image.fromarray(pixels).save(data.pairs[0].mask)
    assert data.read(0).mask[:, 0].tolist() == [1] * 9 + [255] * 11 + [0] * 52


def test_label_out_of_range_names_file_value_and_pixel(tmp_path: Path) -> None:
    data = open_data(folder_tree(tmp_path), "folder", "val")
    ids = np.asarray(Image.open(data.pairs[0].mask)).copy()
    ids[10, 20] = 7
    Image.fromarray(ids).save(data.pairs[0].mask)
    with pytest.raises(FeathersegError, match=r"photo0\.png: label 7 at pixel \(x=20, y=10\) is no class"):
        data.read(0)


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    data = open_data(folder_tree(tmp_path), "folder", "val")
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(data.pairs[0].mask)
    with pytest.raises(FeathersegError, match=r"photo0\.png.*size.*expected 96x72; got 12x10"):
        data.read(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: (tree / "masks" / "val" / "photo0.png").unlink(), "its mask is missing"),
        (lambda tree: (tree / "classes.yaml").write_text("names: 3"), "names: "),
        (lambda tree: (tree / "classes.yaml").write_text("names: [a, b, c]\nnmes: [a]"), "did you mean 'names'"),
        (lambda tree: (tree / "classes.yaml").write_text("names: [a, a, c]"), "'a' twice"),
        (lambda tree: (tree / "classes.yaml").write_text("names: [a, b"), "no valid YAML"),
        (lambda tree: (tree / "classes.yaml").unlink(), "there is no such file"),
        (lambda tree: (tree / "classes.yaml").write_text("names: []"), "names: "),
        (lambda tree: (tree / "classes.yaml").write_text("names: [a, b, c]\ncolors: [1, 2]"), "wrong kind"),
        (lambda tree: (tree / "classes.yaml").write_text("names: [a, b, c]\ncolors: {a: red, b: 5}"), "wrong kind"),
        (lambda tree: (tree / "classes.yaml").write_text("names: [a, b, c]\nignore_index: x"), "wrong kind"),
        (lambda tree: (tree / "classes.yaml").write_bytes(b"names: [\xff\xfe]"), "no valid YAML"),
    ],
)
def test_broken_trees_are_refused_in_one_line(tmp_path: Path, change: object, message: str) -> None:
    tree = folder_tree(tmp_path)
    change(tree)  # type: ignore[operator]
    with pytest.raises(FeathersegError, match=message) as caught:
        open_data(tree, "folder", "val")
    assert "\n" not in str(caught.value)
    assert str(tree) in str(caught.value)


def test_missing_folder_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match="no such folder"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(FeathersegError, match="did you mean 'camvid'"):
        open_data(tmp_path, "camvd")
    with pytest.raises(FeathersegError, match="no known layout"):
        open_data(tmp_path)
    with pytest.raises(FeathersegError, match="no such folder"):
        open_data(camvid_tree(tmp_path / "c"), "camvid", "test")


def test_frequencies_count_labelled_pixels_only(tmp_path: Path) -> None:
    data = open_data(folder_tree(tmp_path), "folder", "train")
    counts = np.zeros(3)
    for index in range(len(data)):
        mask = data.read(index).mask
        counts += [(mask == label).sum() for label in range(3)]
    assert class_frequencies(data) == pytest.approx(counts / counts.sum())


WAYS = {
    "ours": {"scale": (0.5, 2.0)},
    "paper 003": {"scale": (0.25, 2.0), "scale_of": "crop", "aspect": 0.3, "rotation": 10.0, "blur": 0.25},
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crop", [(64, 64), (96, 160)])
@pytest.mark.parametrize("way", WAYS)
def test_augmentation_moves_picture_and_mask_together(seed: int, crop: tuple[int, int], way: str) -> None:
    """Each class has its colour: where the mask says a class, the picture must show that colour."""
    image, mask = scene(np.random.default_rng(seed), 80, 120)
    augment = Augment(crop_size=crop, **WAYS[way])
    out_image, out_mask = augment(image, mask, np.random.default_rng(seed))
    assert out_image.shape == (*crop, 3)
    assert out_mask.shape == crop
    nearest = np.abs(out_image[:, :, None].astype(int) - COLOURS.astype(int)).sum(-1).argmin(-1)
    inside = out_mask != 255
    assert inside.mean() > (0.15 if way == "ours" else 0.01)
    assert (nearest[inside] == out_mask[inside]).mean() > (0.95 if way == "ours" else 0.85)
    if way == "ours":
        assert (out_image[~inside] == 128).all()


def test_the_ways_of_paper_003() -> None:
    image, mask = scene(np.random.default_rng(0), 80, 120)
    padded = Augment(crop_size=(64, 64), scale=(0.25, 0.25), scale_of="crop", flip=0, pad_label=0)
    _, out = padded(image, np.full_like(mask, 2), np.random.default_rng(0))
    assert set(np.unique(out)) == {0, 2}
    assert (out == 2).sum() == 16 * round(64 / 4 * 80 / 120)  # a quarter of what just fits
    whole = Augment(crop_size=(80, 120), scale=(1, 1), scale_of="crop", flip=0)
    assert (whole(image, mask, np.random.default_rng(1))[0] == image).all()
    bright = Augment(crop_size=(80, 120), scale=(1, 1), flip=0, hsv=(0, 0, 0.5))
    values = [int(bright(image, mask, np.random.default_rng(seed))[0].max(-1).mean()) for seed in range(8)]
    assert max(values) > image.max(-1).mean() > min(values)
    with pytest.raises(FeathersegError, match="did you mean 'crop'"):
        Augment(scale_of="crp")


def test_augmentation_depends_on_its_generator_alone() -> None:
    image, mask = scene(np.random.default_rng(0), 80, 120)
    augment = Augment(crop_size=(64, 64), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
    first = augment(image, mask, np.random.default_rng(7))
    again = augment(image, mask, np.random.default_rng(7))
    other = augment(image, mask, np.random.default_rng(8))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_colour_without_change_is_the_picture_and_gray_stays_gray() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    picture = Image.fromarray(image)
    assert (np.asarray(Augment().recolour(picture, np.random.default_rng(0))) == image).all()
    gray = Image.new("RGB", (40, 40), (90, 90, 90))
    turned = np.asarray(Augment(saturation=0.5, hue=1.0).recolour(gray, np.random.default_rng(1))).astype(int)
    assert np.abs(turned - 90).max() <= 1


@pytest.mark.parametrize("size", [(40, 60), (41, 59), (33, 2), (3, 1)])
def test_every_fourth_pixel_is_just_that(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    assert (np.asarray(every_fourth(Image.fromarray(image))) == image[::4, ::4]).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_box_is_resized_as_from_the_whole_picture(seed: int) -> None:
    """Up to a gray level or two, for Pillow rounds between its two passes and chooses their order by the sizes."""
    rng = np.random.default_rng(seed)
    image, mask = scene(rng, 160, 240)
    box = (rng.uniform(0, 60), rng.uniform(0, 40), rng.uniform(100, 240), rng.uniform(70, 160))
    size = (int(rng.integers(20, 300)), int(rng.integers(20, 300)))
    for array, way, levels in ((image, Image.Resampling.BILINEAR, 2), (mask, Image.Resampling.NEAREST, 0)):
        ours = np.asarray(resized(array, size, box, way)).astype(int)
        whole = np.asarray(Image.fromarray(array).resize(size, way, box)).astype(int)
        assert np.abs(ours - whole).max() <= levels


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_on_where_one_starts(tmp_path: Path, workers: int) -> None:
    data = open_data(folder_tree(tmp_path), "folder", "train")
    dataset = Augmented(data.in_memory(), Augment(crop_size=(64, 64)), seed=5)
    order = Order(len(data), batch_size=2, seed=5)
    reference = [dataset[(1, index)].images for keys in started(order, 1, 0) for _, index in keys]
    loader = Loader(dataset, order, workers=workers)
    order.start(1, 1)
    batches = [images for images, _ in loader]
    assert len(batches) == 2
    assert all((batches[0][i] == reference[2 + i]).all() for i in range(2))


def test_data_travel_to_worker_processes(tmp_path: Path) -> None:
    for tree in (folder_tree(tmp_path / "a"), camvid_tree(tmp_path / "b")):
        data = open_data(tree, "auto", "val")
        again = pickle.loads(pickle.dumps(data))
        assert (again.read(1).mask == data.read(1).mask).all()


def started(order: Order, epoch: int, batch: int) -> list[list[tuple[int, int]]]:
    order.start(epoch, batch)
    return list(order)
