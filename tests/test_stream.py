"""Reading, network and writing overlap, and nothing else changes: the same results in the same order, few in memory."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import CLASSES, striped, write_network

import featherseg
from featherseg.app import predict as verb
from featherseg.app.cli import main
from featherseg.runtime import Artefact, FeathersegError, Predictor, read_image, read_mask
from featherseg.runtime.stream import ahead, pipeline, spread

PATIENCE = 20.0  # seconds until a test gives up


def same(value):
    return value


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_results_are_those_of_one_after_the_other_in_order() -> None:
    rng = np.random.default_rng(0)
    naps = rng.uniform(0, 0.004, (40, 2))

    def read(item: int) -> int:
        time.sleep(naps[item, 0])
        return item * 10

    def write(item: int, scored: int) -> tuple[int, int]:
        time.sleep(naps[item, 1])
        return item, scored

    results = list(pipeline(range(40), read, lambda value: value + 1, write, readers=3, writers=3))
    assert results == [(item, (item, item * 10 + 1)) for item in range(40)]


def test_the_three_steps_overlap() -> None:
    """While one item is in the network, the next is read and the one before is written; each waits for the others."""
    read_begun, write_begun = ([threading.Event() for _ in range(6)] for _ in range(2))

    def read(item: int) -> int:
        read_begun[item].set()
        return item

    def run(item: int) -> int:
        assert threading.current_thread() is threading.main_thread()
        if item + 1 < 6:
            assert read_begun[item + 1].wait(PATIENCE)
        if item > 0:
            assert write_begun[item - 1].wait(PATIENCE)
        return item

    def write(item: int, scored: int) -> int:
        write_begun[item].set()
        return scored

    assert [result for _, result in pipeline(range(6), read, run, write)] == list(range(6))


@pytest.mark.parametrize("step", ["read", "run", "write"])
def test_a_mistake_ends_its_own_item_alone(step: str) -> None:
    def stage(name: str):
        def work(*arguments: int) -> int:
            if name == step and arguments[0] == 3:
                raise FeathersegError("3: is broken")
            return arguments[-1]

        return work

    results = list(pipeline(range(8), stage("read"), stage("run"), stage("write")))
    assert [item for item, _ in results] == list(range(8))
    assert str(results[3][1]) == "3: is broken"
    assert [result for item, result in results if item != 3] == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("step", ["items", "read", "run", "write"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_any_other_error_surfaces_and_ends_everything(step: str, error: type[BaseException]) -> None:
    begun: list[int] = []
    written: list[int] = []

    def stage(name: str):
        def work(*arguments: int) -> int:
            if name == step and arguments[0] == 5:
                raise error
            if name == "write":
                begun.append(arguments[0])
                time.sleep(0.01)
                written.append(arguments[0])
            return arguments[-1]

        return work

    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            asked.append(item)
            yield stage("items")(item)

    with pytest.raises(error):
        list(pipeline(items(), stage("read"), stage("run"), stage("write")))
    assert sorted(begun) == sorted(written)  # what was being written is whole
    assert len(asked) < 20  # what was waiting is dropped


def test_who_stops_asking_stops_everything() -> None:
    results = pipeline(iter(int, 1), same, same, lambda _, scored: scored)
    assert next(results) == (0, 0)
    results.close()


class Picture:
    """Something large."""


@pytest.mark.parametrize(("readers", "writers", "most"), [(1, 2, 7), (3, 3, 12)])
@pytest.mark.parametrize("slow", ["read", "run", "write"])
def test_a_handful_is_alive_however_many_there_are(readers: int, writers: int, most: int, slow: str) -> None:
    alive: weakref.WeakSet[Picture] = weakref.WeakSet()
    lock = threading.Lock()
    counts: list[int] = []

    def nap(step: str) -> None:
        time.sleep(0.002 if step == slow else 0)

    def read(_: int) -> Picture:
        picture = Picture()
        with lock:
            alive.add(picture)
            counts.append(len(alive))
        nap("read")
        return picture

    def run(picture: Picture) -> Picture:
        nap("run")
        return picture

    def write(_: int, picture: Picture) -> None:
        nap("write")

    for _ in pipeline(range(150), read, run, write, readers=readers, writers=writers):
        pass
    assert max(counts) <= most
    assert not alive


def test_ahead_is_the_iterator_itself() -> None:
    def counting() -> Iterator[int]:
        yield from range(5)
        raise FeathersegError("the sixth is broken")

    assert list(ahead(range(100))) == list(range(100))
    assert list(ahead([])) == []
    numbers = ahead(counting())
    assert [next(numbers) for _ in range(5)] == list(range(5))
    with pytest.raises(FeathersegError, match="sixth"):  # the error comes at its place
        next(numbers)


def test_ahead_makes_one_while_another_is_used() -> None:
    made = [threading.Event() for _ in range(10)]

    def making() -> Iterator[int]:
        for item in range(10):
            made[item].set()
            yield item

    numbers = ahead(making())
    assert next(numbers) == 0
    assert made[1].wait(PATIENCE)
    time.sleep(0.02)
    assert not made[3].is_set()
    numbers.close()


def test_spread_keeps_the_order() -> None:
    naps = np.random.default_rng(0).uniform(0, 0.003, 50)

    def slowly(item: int) -> int:
        time.sleep(naps[item])
        return -item

    assert list(spread(slowly, range(50), threads=4)) == [-item for item in range(50)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve different pictures, the fifth broken, and a network."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.onnx")
    (tmp_path / "photos").mkdir()
    for index in range(12):
        picture = np.roll(striped(48 + index, 96), 7 * index, axis=1)
        Image.fromarray(picture).save(tmp_path / f"photos/{index:02d}.jpg", quality=90)
    (tmp_path / "photos/04.jpg").write_bytes(b"hello")
    return tmp_path / "photos"


def test_a_folder_gives_what_its_pictures_give(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "photos", "--model", "net.onnx"]) == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()[:-1]] == [
        f"photos/{index:02d}.jpg" for index in range(12) if index != 4
    ]
    assert len(err.splitlines()) == 1
    predictor = featherseg.load("./net.onnx")
    for path in sorted(folder.glob("*.jpg")):
        if path.stem != "04":
            prediction = predictor(path)
            np.testing.assert_array_equal(read_mask(f"predictions/{path.stem}_mask.png"), prediction.mask)
            overlay = read_image(f"predictions/{path.stem}_overlay.png")
            np.testing.assert_array_equal(overlay, np.asarray(prediction.overlay()))


def test_an_interrupt_leaves_whole_files_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def engine(picture: np.ndarray) -> np.ndarray:
        seen.append(picture)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return np.zeros((3, 6, 12), np.float32)

    monkeypatch.setattr(verb, "load", lambda *_, **__: Predictor(engine, Artefact(classes=CLASSES)))
    assert main(["predict", "photos"]) == 130
    assert capsys.readouterr().err == "featherseg predict: interrupted\n"
    written = sorted(path.name for path in Path("predictions").iterdir())
    assert 8 <= len(written) <= 14
    assert not [name for name in written if not name.endswith(("_mask.png", "_overlay.png"))]
    for name in written:
        read_image(Path("predictions", name))


def test_an_error_of_ours_in_a_writing_thread_is_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherseg.app.segment.save_png", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["predict", "photos/00.jpg", "photos/01.jpg", "--model", "net.onnx"])
