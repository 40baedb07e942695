"""Every format on a generated tree in its true layout, against expectations written without its reader."""

from __future__ import annotations

import base64
import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from format_trees import (
    CAMVID_COLOURS,
    CAMVID_IDS,
    COCO_LAYOUTS,
    COUNTS,
    SIZE,
    THINGS,
    TREES,
    VOC_VALUES,
    blocks,
    by_area,
    camvid32_names,
    camvid32_tree,
    cityscapes_tree,
    coco_tree,
    labelme_tree,
    painted,
    things,
    voc_tree,
    write_gray,
    write_labelme,
    write_picture,
    yolo_tree,
)
from PIL import Image
from trees import camvid_tree, folder_tree

from featherseg.data import FORMATS, SegData, detect_format, list_splits, open_data
from featherseg.data.cityscapes import windows
from featherseg.data.outlines import Shape, from_pixels, from_polygons, paint, run_lengths
from featherseg.data.samples import Sample
from featherseg.runtime.errors import FeathersegError


def samples(data: SegData) -> list[Sample]:
    return [data.read(index) for index in range(len(data))]


def kinds(data: SegData, index: int = 0) -> list[str]:
    return [fault.kind for fault in data.inspect(index).faults]


# all formats alike


def test_every_tree_is_recognised_as_itself(tmp_path: Path) -> None:
    makers = {**TREES, "folder": folder_tree, "camvid": camvid_tree}
    assert makers.keys() == FORMATS.keys()
    for name, make in makers.items():
        root = make(tmp_path / name)
        assert detect_format(root) == name
        assert [other for other, format in FORMATS.items() if format.looks_like(root)] == [name]


@pytest.mark.parametrize("name", TREES)
def test_splits_pictures_and_terms(tmp_path: Path, name: str) -> None:
    root = TREES[name](tmp_path)
    splits = list_splits(root)
    assert splits[:2] == ("train", "val")
    for split in ("train", "val"):
        data = open_data(root, split=split)
        assert (data.name, data.split, data.labelled) == (name, split, True)
        found = samples(data)
        assert all(sample.image.shape == (*SIZE, 3) and sample.mask.shape == SIZE for sample in found)
        assert len({sample.image.tobytes() for sample in found}) == len(data)
        assert not any(kinds(data, index) for index in range(len(data)))


@pytest.mark.parametrize("name", TREES)
def test_chosen_classes_have_their_own_order(tmp_path: Path, name: str) -> None:
    root = TREES[name](tmp_path)
    whole = open_data(root, split="val")
    wanted = whole.classes.names[2::-2]  # the third, the first
    data = open_data(root, split="val", classes=wanted)
    assert data.classes.names == wanted
    assert data.classes.palette == (whole.classes.palette[2], whole.classes.palette[0])
    for before, after in zip(samples(whole), samples(data), strict=True):
        expected = np.where(before.mask == 2, 0, np.where(before.mask == 0, 1, 255))
        assert (after.mask == expected).all()
    with pytest.raises(FeathersegError, match=r"data\.classes"):
        open_data(root, split="val", classes=["zebra crossing"])


@pytest.mark.parametrize("name", TREES)
def test_data_travel_to_worker_processes(tmp_path: Path, name: str) -> None:
    data = open_data(TREES[name](tmp_path), split="val")
    again = pickle.loads(pickle.dumps(data))
    assert (again.read(1).mask == data.read(1).mask).all()


@pytest.mark.parametrize("name", ["voc", "voc_aug", "cityscapes", "coco", "labelme", "yolo"])
def test_a_test_split_without_labels_opens_and_says_so_when_read(tmp_path: Path, name: str) -> None:
    data = open_data(TREES[name](tmp_path), split="test")
    assert (len(data), data.labelled) == (COUNTS["test"], False)
    assert all(pair.mask is None and pair.image.is_file() for pair in data.pairs)
    with pytest.raises(FeathersegError, match="the test split has no labels"):
        data.read(0)


@pytest.mark.parametrize("name", TREES)
def test_a_split_that_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(FeathersegError, match="nosuch") as caught:
        open_data(TREES[name](tmp_path), split="nosuch")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "labels", "picture"),
    [
        ("voc", "VOCdevkit/VOC2012/SegmentationClass/2007_val1.png", "VOCdevkit/VOC2012/JPEGImages/2007_val0.jpg"),
        ("voc_aug", "VOCdevkit/VOC2012/SegmentationClass/2007_val1.png", "VOCdevkit/VOC2012/JPEGImages/2007_val0.jpg"),
        (
            "cityscapes",
            "gtFine/val/frankfurt/frankfurt_000001_000019_gtFine_labelIds.png",
            "leftImg8bit/val/frankfurt/frankfurt_000000_000019_leftImg8bit.png",
        ),
        ("camvid32", "LabeledApproved_full/0001TP_val1_L.png", "701_StillsRaw_full/0001TP_val0.png"),
        ("labelme", "val/photo val1.json", "val/photo val0.jpg"),
    ],
)
def test_unpaired_files_are_named(tmp_path: Path, name: str, labels: str, picture: str) -> None:
    root = TREES[name](tmp_path)
    (root / labels).unlink()
    with pytest.raises(FeathersegError, match="its mask is missing"):
        open_data(root, name, "val")
    (root / picture).unlink()
    data = open_data(root, name, "val", faulty=True)
    assert (len(data), [fault.kind for fault in data.unpaired]) == (0, ["unpaired"] * 2)
    assert any("picture is missing" in fault.detail for fault in data.unpaired)


# voc


def test_voc(tmp_path: Path) -> None:
    root = voc_tree(tmp_path)
    for place in (root, root / "VOCdevkit", root / "VOCdevkit" / "VOC2012"):
        data = open_data(place, split="train")
        assert (data.name, len(data), len(data.classes)) == ("voc", 3, 21)
    assert data.classes.names[15] == "person"
    assert data.classes.palette[15] == (192, 128, 128)
    for index, sample in enumerate(samples(data)):
        assert (sample.mask == blocks("train", index, VOC_VALUES)).all()
    assert list_splits(root) == ("train", "val", "test")


def test_voc_does_not_doubt_background_and_border_alone(tmp_path: Path) -> None:
    root = voc_tree(tmp_path)
    data = open_data(root, split="val")
    write_gray(data.pairs[0].mask, blocks("x", 0, (0, 255)))
    assert kinds(data) == []
    write_gray(data.pairs[0].mask, blocks("x", 0, (0, 21)))
    assert kinds(data) == ["id-out-of-range"]


def test_voc_aug_takes_its_own_list_and_masks(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, aug=True)
    masks = {sample.name: sample.mask for sample in samples(open_data(root, split="train"))}
    assert (masks["2007_train0"] == blocks("aug", 0, VOC_VALUES)).all()
    assert (masks["2007_train2"] == blocks("train", 2, VOC_VALUES)).all()  # only SegmentationClass has it
    assert (masks["2008_aug0"] == blocks("aug", 9, VOC_VALUES)).all()
    assert len(masks) == 4
    val = open_data(root, split="val")
    assert (val.read(0).mask == blocks("val", 0, VOC_VALUES)).all()
    assert len(open_data(root, "voc", "train")) == 3
    home = root / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    (lists / "trainaug.txt").rename(lists / "train_aug.txt")
    assert len(open_data(root, split="train")) == 4
    shutil.rmtree(home / "SegmentationClassAug")
    assert detect_format(root) == "voc"


# cityscapes

OFFICIAL = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
            28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
"""Label id -> train id, from the data set's own scripts."""


def test_cityscapes_label_ids_are_mapped(tmp_path: Path) -> None:
    data = open_data(cityscapes_tree(tmp_path), split="train")
    assert (len(data), len(data.classes), data.classes.names[13]) == (3, 19, "car")
    for index, sample in enumerate(samples(data)):
        raw = blocks("train", index, tuple(range(34)))
        assert (sample.mask == np.vectorize(lambda label: OFFICIAL.get(label, 255))(raw)).all()
    write_gray(data.pairs[0].mask, np.full(SIZE, 34, np.uint8))
    assert kinds(data)[:1] == ["id-out-of-range"]


def test_cityscapes_train_ids_are_preferred(tmp_path: Path) -> None:
    data = open_data(cityscapes_tree(tmp_path, train_ids=True), split="val")
    assert (data.read(1).mask == blocks("val", 1, (*range(19), 255))).all()
    data.pairs[1].mask.unlink()
    data = open_data(tmp_path, split="val")
    assert data.pairs[1].mask.stem.endswith("labelIds")


def test_patches_are_the_papers(tmp_path: Path) -> None:
    expected = {(top, left, 880, 880) for top in (0, 144) for left in (0, 389, 779, 1168)}
    found = windows((1024, 2048))
    assert (len(found), set(found)) == (8, expected)
    assert all(top + height <= 1024 and left + width <= 2048 for top, left, height, width in found)
    root = cityscapes_tree(tmp_path)
    whole, parts = open_data(root, split="train"), open_data(root, split="train_patches")
    assert len(parts) == 8 * len(whole)
    assert list_splits(root) == ("train", "val", "test", "train_patches")
    sample, source = parts.read(11), whole.read(1)  # the fourth of the second picture
    top, left, height, width = parts.pairs[11].window
    assert (top, left, height, width) == (0, 1168 * 64 // 2048, 880 * 48 // 1024, 880 * 64 // 2048)
    assert (sample.image == source.image[top : top + height, left : left + width]).all()
    assert (sample.mask == source.mask[top : top + height, left : left + width]).all()
    assert len({part.name for part in samples(parts)}) == len(parts)


# camvid32


@pytest.mark.parametrize("layout", ["published", "folders"])
def test_camvid32(tmp_path: Path, layout: str) -> None:
    data = open_data(camvid32_tree(tmp_path, layout=layout), split="val")
    assert (data.name, len(data), len(data.classes)) == ("camvid32", 2, 31)
    table = np.array([CAMVID_IDS[name] for name in CAMVID_COLOURS])
    for index, sample in enumerate(samples(data)):
        assert (sample.mask == table[camvid32_names("val", index)]).all()
    for name, label in CAMVID_IDS.items():
        if name != "Void":
            assert (data.classes.names[label], data.classes.palette[label]) == (name, CAMVID_COLOURS[name])


def test_camvid32_without_lists_is_one_split_and_broken_tables_are_named(tmp_path: Path) -> None:
    root = camvid32_tree(tmp_path, layout="all")
    data = open_data(root, split="train")
    assert (data.split, len(data), list_splits(root)) == ("all", 5, ("all",))
    (root / "label_colors.txt").unlink()
    assert open_data(root).classes == data.classes
    (root / "class_dict.csv").write_text("name,r,g,b\nSky,300,1,1\n")
    with pytest.raises(FeathersegError, match=r"class_dict\.csv: not a table of colours"):
        open_data(root)


def test_camvid32_list_that_names_no_picture(tmp_path: Path) -> None:
    root = camvid32_tree(tmp_path)
    (root / "val.txt").write_text("0001TP_val0.png\nnowhere\n")
    with pytest.raises(FeathersegError, match=r"val\.txt: nowhere is not in"):
        open_data(root, split="val")


# coco


@pytest.mark.parametrize("layout", COCO_LAYOUTS)
def test_coco_in_every_layout_and_form(tmp_path: Path, layout: str) -> None:
    data = open_data(coco_tree(tmp_path, layout=layout), split="train")
    assert (data.name, data.classes.names) == ("coco", ("background", *THINGS))
    for index, sample in enumerate(samples(data)):
        assert (sample.mask == painted(by_area(things("train", index)))).all()


def edit(path: Path, change: object) -> None:
    content = json.loads(path.read_text())
    change(content)  # type: ignore[operator]
    path.write_text(json.dumps(content))


def test_coco_background_same_names_and_pictures_without_annotations(tmp_path: Path) -> None:
    root = coco_tree(tmp_path)

    def change(content: dict) -> None:
        content["categories"] = [
            {"id": 7, "name": "cat"}, {"id": 18, "name": "background"}, {"id": 90, "name": "cat"},
        ]  # fmt: skip
        content["annotations"] = [item for item in content["annotations"] if item["image_id"] == 50]

    edit(root / "annotations/instances_val2017.json", change)
    data = open_data(root, split="val")
    assert data.classes.names == ("background", "cat")
    expected = painted(by_area(things("val", 0)))
    assert (data.read(0).mask == np.array([0, 1, 0, 1])[expected]).all()
    assert not data.read(1).mask.any()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda item: item.update(category_id=5), "id-out-of-range", "category that is not listed"),
        (lambda item: item.update(segmentation=[]), "unreadable", "no outline"),
        (lambda item: item.pop("segmentation"), "unreadable", "no outline"),
        (lambda item: item.update(segmentation=[[1, 2, 3, 4]]), "unreadable", "2 points"),
        (lambda item: item.update(segmentation=[[1, 2, 3, 4, 5]]), "unreadable", "pairs of numbers"),
        (lambda item: item.update(segmentation=[[1, 2, 3, 4, "x", 5]]), "unreadable", "pairs of numbers"),
        (lambda item: item.update(segmentation=[[1, 2, 3, 4, 1e12, 5]]), "unreadable", "far outside"),
        (lambda item: item.update(segmentation=[[1, 2, 3, 4, float("nan"), 5]]), "unreadable", "far outside"),
        (lambda item: item.update(segmentation={"size": [3, 3], "counts": [9]}), "unreadable", "size"),
        (lambda item: item.update(segmentation={"size": [48, 64], "counts": [9]}), "unreadable", "9 pixels of 3072"),
        (lambda item: item.update(segmentation={"size": [48, 64], "counts": [-1, 5]}), "unreadable", "whole numbers"),
        (lambda item: item.update(segmentation={"size": [48, 64], "counts": "ab"}), "unreadable", "run lengths"),
        (lambda item: item.update(segmentation={"size": [48, 64], "counts": "\x01"}), "unreadable", "run lengths"),
        (lambda item: item.update(segmentation={"size": [48, 64]}), "unreadable", "whole numbers"),
    ],
)
def test_coco_faults_name_picture_and_annotation(tmp_path: Path, change: object, kind: str, words: str) -> None:
    root = coco_tree(tmp_path)
    path = root / "annotations/instances_val2017.json"
    edit(path, lambda content: change(content["annotations"][0]))  # type: ignore[operator]
    data = open_data(root, split="val")
    (fault,) = data.inspect(0).faults
    assert (fault.file, fault.kind) == (path, kind)
    assert words in fault.detail
    assert "val000000000000.jpg: annotation 0" in fault.detail
    assert kinds(data, 1) == []


def test_coco_size_missing_files_and_strays(tmp_path: Path) -> None:
    root = coco_tree(tmp_path)
    path = root / "annotations/instances_val2017.json"
    data = open_data(root, split="val")
    write_picture(data.pairs[0].image, "other", 0, (40, 64))
    (fault,) = data.inspect(0).faults
    assert fault.kind == "size-mismatch"
    assert "val000000000000.jpg; expected 64x40; got 64x48" in fault.detail
    write_picture(root / "val2017" / "more.jpg", "other", 1)
    data.pairs[1].image.unlink()
    edit(path, lambda content: content["annotations"][0].update(image_id=4))
    found = open_data(root, split="val", faulty=True)
    assert len(found) == 1
    details = " | ".join(fault.detail for fault in found.unpaired)
    assert {fault.kind for fault in found.unpaired} == {"unpaired"}
    for words in ("json lists it", "json does not list it", "annotation 0 is of image 4, which is not listed"):
        assert words in details
    edit(path, lambda content: content["images"][0].update(height=10**9))
    assert kinds(open_data(root, split="val", faulty=True)) == ["unreadable"]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"images": 3, "categories": []}', '{"images": [{}], "categories": []}', "\x00\xff"]
)
def test_coco_that_is_broken_as_a_whole_is_refused(tmp_path: Path, text: str) -> None:
    root = coco_tree(tmp_path)
    (root / "annotations/instances_val2017.json").write_text(text)
    with pytest.raises(FeathersegError, match=r"instances_val2017\.json") as caught:
        open_data(root, "coco", "val")
    assert "\n" not in str(caught.value)


def test_compressed_runs_are_pycocotools_own() -> None:
    from pycocotools import mask as rle

    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.99):
        inside = rng.random((37, 53)) < share
        text = rle.encode(np.asfortranarray(inside, np.uint8))["counts"]
        counts = run_lengths(text)
        values = np.arange(len(counts)) % 2
        drawn = np.repeat(values, counts).reshape(53, 37).T
        assert (drawn == inside).all()


def test_boxes_cover_whole_pixels() -> None:
    runs = from_polygons([[2, 3, 5, 3, 5, 7, 2, 7], [0, 0, 1, 0, 1, 1, 0, 1]], (10, 12))
    expected = np.zeros((10, 12))
    expected[3:7, 2:5] = expected[0, 0] = 1
    assert (paint([Shape(runs, 1)], (10, 12)) == expected).all()


def test_polygons_are_painted_as_pycocotools_decodes_them() -> None:
    from pycocotools import mask as rle

    rng = np.random.default_rng(1)
    for _ in range(20):
        rings = [(rng.random(2 * rng.integers(3, 9)) * 90 - 15).tolist() for _ in range(2)]
        expected = rle.decode(rle.merge(rle.frPyObjects(rings, 51, 67)))
        assert (paint([Shape(from_polygons(rings, (51, 67)), 1)], (51, 67)) == expected).all()


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_pixels_to_runs_and_back(share: float) -> None:
    inside = np.random.default_rng(2).random((9, 14)) < share
    runs = from_pixels(inside)
    assert runs.sum() == 9 * 14
    assert (paint([Shape(runs, 7)], (9, 14)) == 7 * inside).all()


# labelme


@pytest.mark.parametrize("layout", ["splits", "apart", "flat"])
def test_labelme(tmp_path: Path, layout: str) -> None:
    root = labelme_tree(tmp_path, layout=layout)
    data = open_data(root, split="train")
    assert (data.name, data.classes.names) == ("labelme", ("background", *THINGS))
    assert data.split == ("all" if layout == "flat" else "train")
    for index, sample in enumerate(samples(data)):
        assert (sample.mask == painted(by_area(things("train", index)))).all()


def test_labelme_list_of_classes(tmp_path: Path) -> None:
    data = open_data(labelme_tree(tmp_path, names=True), split="train")
    assert data.classes.names == ("background", "tree", "dog", "cat")
    assert (data.read(0).mask == np.array([0, 3, 2, 1])[painted(by_area(things("train", 0)))]).all()


def encoded(part: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(part).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_labelme_kinds_of_shapes(tmp_path: Path) -> None:
    root = labelme_tree(tmp_path)
    part = np.random.default_rng(3).random((6, 5)) < 0.5
    shapes = [
        {"label": "cat", "points": [[20, 20], [24, 23]], "shape_type": "circle"},
        {"label": "dog", "points": [[40.5, 2.5], [40.5, 9.5]], "shape_type": "line"},
        {"label": "dog", "points": [[45, 30], [50, 30], [50, 35]], "shape_type": "linestrip"},
        {"label": "tree", "points": [[3, 40], [7, 45]], "shape_type": "mask", "mask": encoded(part)},
        {"label": "nothing", "points": [[1, 1]], "shape_type": "point"},
        {"label": "__ignore__", "points": [[0, 0], [4, 4]], "shape_type": "rectangle"},
        {"label": "_background_", "points": [[2, 2], [3, 3]], "shape_type": "rectangle"},
    ]
    write_labelme(root / "val" / "photo val0.json", shapes)
    data = open_data(root, split="val")
    assert data.classes.names == ("background", *THINGS)
    expected = np.zeros(SIZE, np.uint8)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            if (x + 0.5 - 20) ** 2 + (y + 0.5 - 20) ** 2 <= 25:
                expected[y, x] = 1
    expected[2:10, 40] = expected[30, 45:51] = expected[30:36, 50] = 2
    expected[40:46, 3:8][part] = 3
    expected[:4, :4] = 255
    expected[2, 2] = 0
    assert (data.read(0).mask == expected).all()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ({"label": "zebra", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}, "id-out-of-range"),
        ({"label": "cat", "points": [[1, 1], [9, 1]], "shape_type": "polygon"}, "unreadable"),
        ({"label": "cat", "points": None, "shape_type": "polygon"}, "unreadable"),
        ({"label": "cat", "points": [[1, 1], [9, 1]], "shape_type": "spiral"}, "unreadable"),
        ({"label": "cat", "points": [[1, 1], [9, 1]], "shape_type": "mask"}, "unreadable"),
        ({"label": "cat", "points": [[1, 1], [9, 1]], "shape_type": "mask", "mask": "AAAA"}, "unreadable"),
        ({"label": "cat", "points": [[62, 1], [70, 1]], "shape_type": "mask", "mask": encoded(np.ones((2, 8), bool))},
         "unreadable"),
        ({"points": [[1, 1], [9, 1], [9, 9]]}, "unreadable"),
    ],
)  # fmt: skip
def test_labelme_faults(tmp_path: Path, shape: dict, kind: str) -> None:
    root = labelme_tree(tmp_path, names=True)
    path = root / "val" / "photo val0.json"
    write_labelme(path, [shape])
    data = open_data(root, split="val")
    assert [(fault.file, fault.kind) for fault in data.inspect(0).faults] == [(path, kind)]


def test_labelme_broken_json_and_other_size(tmp_path: Path) -> None:
    root = labelme_tree(tmp_path)
    path = root / "train" / "photo train0.json"
    for text in ("{", "[]", '{"shapes": 3}', "\x00\xff", '{"shapes": [1]}'):
        path.write_text(text)
        assert kinds(open_data(root, split="train")) == ["unreadable"]
    write_labelme(path, [], (SIZE[0], 99))
    data = open_data(root, split="train")
    assert kinds(data) == ["size-mismatch"]
    assert "expected 64x48; got 99x48" in data.inspect(0).faults[0].detail
    write_labelme(path, [], (10**6, 10**6))
    assert kinds(open_data(root, split="train")) == ["unreadable"]


# yolo


@pytest.mark.parametrize("layout", ["kinds", "splits"])
@pytest.mark.parametrize("names", ["[cat, dog, tree]", "{0: cat, 1: dog, 2: tree}"])
def test_yolo(tmp_path: Path, layout: str, names: str) -> None:
    root = yolo_tree(tmp_path, layout=layout, names=names)
    data = open_data(root, split="train")
    assert (data.name, data.classes.names) == ("yolo", ("background", *THINGS))
    for index in (0, 1):
        assert (data.read(index).mask == painted(by_area(things("train", index)))).all()
    assert not data.read(2).mask.any()  # it has no label file
    assert len(open_data(root, split="val")) == 2


def test_yolo_entry_in_data_yaml_leads_to_other_folders(tmp_path: Path) -> None:
    root = yolo_tree(tmp_path)
    for kind in ("images", "labels"):
        (root / kind / "train").rename(root / kind / "train2017")
    (root / "data.yaml").write_text("train: images/train2017\nnames: [cat, dog, tree]\n")
    data = open_data(root, split="train")
    assert (data.read(0).mask == painted(by_area(things("train", 0)))).all()
    assert "train" in list_splits(root)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("0 0.5 0.5 0.1 0.1", "unreadable", "a box without an outline"),
        ("0 0.5 0.5 0.1 0.1\n\n1 0.5 0.5 0.1 0.1", "unreadable", "line 1: .*, and 1 more"),
        ("0 0.1 0.1 0.5 0.1 0.5", "unreadable", "a box without an outline"),  # as with a confidence
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.5", "unreadable", "7 coordinates"),
        ("cat 0.1 0.1 0.5 0.1 0.5 0.5", "unreadable", "'cat' is no class number"),
        ("0 0.1 0.1 0.5 0.1 x 0.5", "unreadable", "not a number"),
        ("0 0.1 0.1 0.5 0.1 nan 0.5", "unreadable", "outside 0..1"),
        ("0 10 10 50 10 50 50", "unreadable", "outside 0..1"),
        ("3 0.1 0.1 0.5 0.1 0.5 0.5", "id-out-of-range", "class 3 is not in data.yaml; expected 0..2"),
    ],
)
def test_yolo_faults(tmp_path: Path, text: str, kind: str, words: str) -> None:
    data = open_data(yolo_tree(tmp_path), split="val")
    assert data.pairs[0].mask is not None
    data.pairs[0].mask.write_text(text)
    (fault,) = data.inspect(0).faults
    assert (fault.file, fault.kind) == (data.pairs[0].mask, kind)
    with pytest.raises(FeathersegError, match=words):
        data.read(0)


def test_yolo_stray_labels_bytes_and_names(tmp_path: Path) -> None:
    root = yolo_tree(tmp_path)
    (root / "labels/val/stray.txt").write_text("")
    with pytest.raises(FeathersegError, match=r"stray\.txt: its picture is missing"):
        open_data(root, split="val")
    (root / "labels/val/stray.txt").unlink()
    (root / "labels/val/val0.txt").write_bytes(b"\xff\xfe0")
    assert kinds(open_data(root, split="val")) == ["unreadable"]
    for names in ("3", "{0: cat, 2: dog}", "[]", "[cat, cat]"):
        (root / "data.yaml").write_text(f"names: {names}\n")
        with pytest.raises(FeathersegError, match=r"data\.yaml: names"):
            open_data(root, split="val")
    (root / "data.yaml").write_text("names: [cat, background, tree]\n")
    assert open_data(root, split="val").classes.names == ("background", "cat", "tree")
