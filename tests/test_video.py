"""Videos are read upright and written whole; `featherseg predict clip.mp4` as a user runs it."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import wave
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import CLASSES, striped, write_network

import featherseg
from featherseg.app import predict as verb
from featherseg.app.cli import main
from featherseg.runtime import Artefact, FeathersegError, Predictor, Smoothed, read_image, video
from featherseg.runtime.video import writing

av = pytest.importorskip("av")

NTSC = Fraction(30000, 1001)
COUNT = 24


def moving(count: int = COUNT, size: tuple[int, int] = (64, 96)) -> Iterator[np.ndarray]:
    """Stripes that move to the right."""
    for index in range(count):
        yield np.roll(striped(*size), 4 * index, axis=1)


def write_clip(
    path: Path, count: int = COUNT, *, codec: str = "libx264", options: dict[str, str] | None = None
) -> Path:
    """A video straight from av, not by our writer; with grain, so that its frames are of some size."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=NTSC)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index, picture in enumerate(moving(count)):
            grain = np.random.default_rng(index).integers(0, 40, picture.shape).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture + grain, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.onnx")
    write_clip(tmp_path / "clip.mp4")
    return tmp_path


def predict(*words: str) -> int:
    return main(["predict", *words, "--model", "net.onnx"])


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_frames_are_those_that_were_written(tmp_path: Path) -> None:
    with video.Writer(tmp_path / "a.mp4", NTSC) as writer:
        for picture in moving():
            writer.write(picture)
    assert written(tmp_path) == ["a.mp4"]
    assert video.describe(tmp_path / "a.mp4") == video.Clip(NTSC, COUNT)
    got = list(video.frames(tmp_path / "a.mp4"))
    assert len(got) == COUNT
    for frame, picture in zip(got, moving(), strict=True):
        assert frame.dtype == np.uint8
        assert frame.shape == picture.shape
        assert (
            np.abs(frame[:, 8:-8].astype(int) - picture[:, 8:-8]).mean() < 6
        )  # chroma is halved at the stripes' edges


def test_masks_are_kept_to_the_last_id(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 256, (7, 37, 51)).astype(np.uint8)
    with video.Writer(tmp_path / "a.mkv", 25, video.IDS) as writer:
        for mask in masks:
            writer.write(mask)
    np.testing.assert_array_equal(np.stack(list(video.masks(tmp_path / "a.mkv"))), masks)
    np.testing.assert_array_equal(np.stack(list(video.frames(tmp_path / "a.mkv")))[..., 1], masks)
    assert video.describe(tmp_path / "a.mkv") == video.Clip(Fraction(25), 7)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_video_is_read_upright(tmp_path: Path, degrees: int) -> None:
    """Phones store sideways and say in the track header how to turn: x' = a x + c y + tx, y' = b x + d y + ty."""
    stored = np.full((64, 96, 3), 60, np.uint8)
    stored[:20, :30] = (250, 20, 20)
    with video.Writer(tmp_path / "a.mp4", 25) as writer:
        writer.write(stored)
    one = 1 << 16
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", content, place) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", content, place, a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    (frame,) = video.frames(tmp_path / "a.mp4")
    expected = np.rot90(stored, -degrees // 90)  # that matrix turns clockwise
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 6


def test_odd_sides_and_another_size_midway(tmp_path: Path) -> None:
    with video.Writer(tmp_path / "a.mp4", 25) as colour, video.Writer(tmp_path / "a.mkv", 25, video.IDS) as ids:
        for size in ((33, 51), (40, 64)):
            colour.write(striped(*size))
            ids.write(striped(*size).argmax(axis=2).astype(np.uint8))
    assert [frame.shape for frame in video.frames(tmp_path / "a.mp4")] == [(34, 52, 3)] * 2
    first, second = video.masks(tmp_path / "a.mkv")
    np.testing.assert_array_equal(first, striped(33, 51).argmax(axis=2))
    assert [second[16, x] for x in (5, 25, 45)] == [0, 1, 2]


def test_without_x264_mpeg4_is_written(tmp_path: Path) -> None:
    form = video.COLOUR._replace(encoders={"no_encoder": {}, "mpeg4": video.COLOUR.encoders["mpeg4"]})
    with video.Writer(tmp_path / "a.mp4", 25, form) as writer:
        for picture in moving(5):
            writer.write(picture)
    assert len(list(video.frames(tmp_path / "a.mp4"))) == 5


def test_a_video_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with suppress(ZeroDivisionError), video.Writer(path, 25) as writer:
        for picture in moving(100):
            writer.write(picture)
        assert len(written(tmp_path)) == 2
        assert path.read_bytes() == b"old"
        raise ZeroDivisionError
    assert (written(tmp_path), path.read_bytes()) == (["a.mp4"], b"old")
    with video.Writer(path, 25):
        pass  # no frame
    assert (written(tmp_path), path.read_bytes()) == (["a.mp4"], b"old")
    with (
        pytest.raises(FeathersegError, match=r"nowhere/a\.mp4: cannot be written"),
        video.Writer(tmp_path / "nowhere/a.mp4", 25) as writer,
    ):
        writer.write(striped(64, 96))


def test_smoothing_is_the_exponential_average() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3, 4, 6)).astype(np.float32)
    source = iter(scores)
    smoothed = Smoothed(lambda _: next(source), 0.75)
    got = [smoothed(striped(32, 48)) for _ in scores]
    expected = scores[0]
    np.testing.assert_array_equal(got[0], expected)
    for result, new in zip(got[1:], scores[1:], strict=True):
        expected = 0.75 * expected + 0.25 * new
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    plain = Smoothed(lambda image: image.transpose(2, 0, 1).astype(np.float32), 0)
    for frame in moving(3):
        np.testing.assert_array_equal(plain(frame), frame.transpose(2, 0, 1))
    other_size = Smoothed(lambda image: image.transpose(2, 0, 1).astype(np.float32), 0.9)
    for size in ((32, 40), (40, 32)):
        np.testing.assert_array_equal(other_size(striped(*size)), striped(*size).transpose(2, 0, 1))
    coarse = Smoothed(lambda image: np.full((1, 4, 4), image.mean(), np.float32), 0.9)
    for picture in (np.zeros((29, 32, 3), np.uint8), np.full((32, 32, 3), 8, np.uint8)):  # scores of one shape
        assert (coarse(picture) == picture.mean()).all()
    for wrong in (-0.1, 1, float("nan")):
        with pytest.raises(FeathersegError, match="smooth; expected the weight of the past"):
            Smoothed(lambda image: image, wrong)


def test_a_video(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("clip.mp4", "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert written(here / "predictions") == ["clip_mask.mkv", "clip_overlay.mp4"]
    (item,) = json.loads(out)["pictures"]
    assert (item["source"], item["frames"], item["size"]) == ("clip.mp4", COUNT, [64, 96])
    assert sum(item["classes"].values()) == pytest.approx(1)
    for name in ("mask", "overlay"):
        assert video.describe(item[name]).frames == COUNT
        assert abs(video.describe(item[name]).rate - NTSC) < 0.01
    predictor = featherseg.load("./net.onnx")
    files = zip(video.frames("clip.mp4"), video.masks(item["mask"]), video.frames(item["overlay"]), strict=True)
    for frame, mask, overlay in files:
        prediction = predictor(frame)
        np.testing.assert_array_equal(mask, prediction.mask)
        assert np.abs(overlay.astype(int) - np.asarray(prediction.overlay())).mean() < 6


def test_what_to_write(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("clip.mp4", "--write", "overlays") == 0
    assert written(here / "predictions") == ["clip_overlay.mp4"]
    assert predict("clip.mp4", "--write", "masks", "--out", "masks") == 0
    assert written(here / "masks") == ["clip_mask.mkv"]
    last = [line for line in capsys.readouterr().out.splitlines() if ":" not in line]
    assert [Path(line).name for line in last] == ["clip_overlay.mp4", "clip_mask.mkv"]


def test_pictures_and_videos_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.fromarray(striped(48, 96)).save("clip.png")
    shutil.copy("clip.mp4", "second.mp4")
    assert predict("second.mp4", "clip.png", "clip.mp4", "--json") == 0
    items = json.loads(capsys.readouterr().out)["pictures"]
    assert [item["source"] for item in items] == ["second.mp4", "clip.png", "clip.mp4"]
    assert written(here / "predictions") == [
        "clip.mp4_mask.mkv",
        "clip.mp4_overlay.mp4",
        "clip.png_mask.png",
        "clip.png_overlay.png",
        "second_mask.mkv",
        "second_overlay.mp4",
    ]


def test_smoothing_calms_a_video_and_begins_anew_with_each(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that flickers: every third frame the wrong class is a little ahead."""
    calls = iter(range(1000))

    def engine(picture: np.ndarray) -> np.ndarray:
        scores = np.zeros((3, 8, 12), np.float32)
        scores[0], scores[1] = 1, 1.5 * (next(calls) % 3 == 1)
        return scores

    monkeypatch.setattr(verb, "load", lambda *_, **__: Predictor(engine, Artefact(classes=CLASSES)))
    shutil.copy("clip.mp4", "again.mp4")
    assert COUNT % 3 == 0

    def wrong(name: str) -> list[int]:
        return [int(mask[0, 0]) for mask in video.masks(f"predictions/{name}_mask.mkv")]

    assert main(["predict", "clip.mp4"]) == 0
    assert wrong("clip") == [0, 1, 0] * (COUNT // 3)
    assert main(["predict", "clip.mp4", "again.mp4", "--smooth", "0.7"]) == 0
    assert wrong("clip") == wrong("again") == [0] * COUNT


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("mp4", {"movflags": "faststart"}), ("mkv", {}), ("avi", {}), ("mov", {"movflags": "faststart"})],
)
def test_of_a_cut_off_video_the_beginning_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], suffix: str, options: dict[str, str]
) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    whole = write_clip(here / f"whole.{suffix}", 60, codec=codec, options=options)
    assert len(list(video.frames(whole))) == 60
    content = whole.read_bytes()
    Path(f"cut.{suffix}").write_bytes(content[: len(content) * 6 // 10])
    assert predict(f"cut.{suffix}", "--json") == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert f"cut.{suffix}: " in err
    assert "frames could be read, not all" in err
    value = json.loads(out)
    (item,) = value["pictures"]
    assert 0 < item["frames"] < 60
    assert len(value["failed"]) == 1
    assert len(list(video.masks(item["mask"]))) == item["frames"] == len(list(video.frames(item["overlay"])))


def test_what_is_no_video_is_one_line_exit_2_and_nothing_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.mp4").write_text("hello")
    Path("headless.mp4").write_bytes(Path("clip.mp4").read_bytes()[:900])  # the index lies at the end
    with wave.open("sound.mkv", "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    before = sorted(here.rglob("*"))
    for name, match in (
        ("text.mp4", "is not a video of a known format"),
        ("headless.mp4", "damaged or cut off"),
        ("sound.mkv", "holds no video"),
        ("nowhere.mp4", "no such file"),
    ):
        assert predict(name) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert f"{name}: " in err
        assert match in err
        assert sorted(here.rglob("*")) == before
    for words in (["--smooth", "1"], ["--smooth", "much"]):
        with pytest.raises(SystemExit):
            predict("clip.mp4", *words)
        assert "expected a weight of 0 to below 1" in capsys.readouterr().err


def test_a_broken_video_among_others_is_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.mp4").write_text("hello")
    assert predict("text.mp4", "clip.mp4") == 1
    out, err = capsys.readouterr()
    assert "text.mp4" in err
    assert out.splitlines()[-1] == str(Path("predictions/clip_overlay.mp4"))


def test_without_av_the_extra_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert predict("clip.mp4") == 2
    assert "pip install 'featherseg[video]'" in capsys.readouterr().err
    with pytest.raises(FeathersegError, match=r"clip\.mp4: videos need the package av"):
        next(video.frames("clip.mp4"))


def test_an_interrupt_leaves_nothing_half_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def engine(picture: np.ndarray) -> np.ndarray:
        seen.append(picture)
        if len(seen) == 15:
            raise KeyboardInterrupt
        return np.zeros((3, 8, 12), np.float32)

    monkeypatch.setattr(verb, "load", lambda *_, **__: Predictor(engine, Artefact(classes=CLASSES)))
    assert main(["predict", "clip.mp4"]) == 130
    assert written(here / "predictions") == []


def test_a_full_disk_is_said_and_leaves_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(100))

    def mux(self: video.Writer, frame: object) -> None:
        if next(calls) > 10:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.Writer, "_mux", mux)
    assert predict("clip.mp4") == 2
    err = capsys.readouterr().err
    assert "cannot be written (No space left on device)" in err
    assert written(here / "predictions") == []


def test_few_frames_are_in_memory_at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    most = []

    class Counting(Predictor):
        def prepare(self, *arguments: object, **options: object):
            prepared = super().prepare(*arguments, **options)
            alive.add(prepared)
            most.append(len(alive))
            return prepared

    network = featherseg.load("./net.onnx")
    monkeypatch.setattr(verb, "load", lambda *_, **__: Counting(network.engine, network.artefact))
    assert main(["predict", "clip.mp4"]) == 0
    assert len(most) == COUNT
    assert max(most) <= 9
    assert not alive


def test_a_picture_of_a_video_is_a_picture(here: Path) -> None:
    """What is decoded by av and what by Pillow are the same thing to a Predictor."""
    frame = next(video.frames("clip.mp4"))
    assert read_image(frame) is frame
    assert replace(featherseg.load("./net.onnx"))(frame).image is frame
