"""Pictures are read as the eye sees them, whatever their mode; masks keep their ids; files are whole or not there."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherseg.runtime import Classes, FeathersegError, colourise, letterbox, overlay, read_image, read_mask, resize
from featherseg.runtime import pixels as pixels_module
from featherseg.runtime.pixels import count_ids, decoded, save_mask, size_of, write_atomically

CLASSES = Classes(names=("road", "sky"), palette=((10, 20, 30), (200, 0, 0)))
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> None:
    warnings.simplefilter("error")


def test_arrays_and_pictures_and_paths_agree(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    for source in (COLOURS, Image.fromarray(COLOURS), tmp_path / "a.png", str(tmp_path / "a.png")):
        image = read_image(source)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """The stored picture is what turns into COLOURS by the orientation's definition."""
    stored = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.transpose(1, 0, 2),
        6: np.rot90(COLOURS, 1),
        7: COLOURS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOURS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_keep_their_high_byte(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 256 + 77).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), np.stack([RAMP] * 3, axis=2))


def test_mode_i_is_sixteen_bits_too(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(Image.fromarray(RAMP.astype(np.int32) * 256))[..., 0], RAMP)
    with pytest.raises(FeathersegError, match=r"0\.\.65535"):
        read_image(Image.fromarray(RAMP.astype(np.int32) * 1000))


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    """A 16-bit RGB PNG, written by hand because Pillow cannot write one."""
    samples = (COLOURS.astype(">u2") * 256 + 99).astype(">u2")
    write_png(tmp_path / "a.png", 9, 6, 16, 2, [row.tobytes() for row in samples])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_every_mode_gives_rgb(mode: str) -> None:
    assert read_image(Image.new(mode, (5, 3))).shape == (3, 5, 3)


def test_black_and_white_is_0_and_255() -> None:
    image = read_image(Image.fromarray(np.array([[True, False]])))
    assert image[0, :, 0].tolist() == [255, 0]


def test_transparency_is_dropped_and_colours_kept(tmp_path: Path) -> None:
    clear = np.dstack([COLOURS, np.zeros(COLOURS.shape[:2], np.uint8)])
    np.testing.assert_array_equal(read_image(Image.fromarray(clear)), COLOURS)
    palette = Image.fromarray(RAMP).convert("P")
    for number, transparency in enumerate((3, bytes([0, 9, 255]))):
        palette.save(tmp_path / f"{number}.png", transparency=transparency)
        np.testing.assert_array_equal(read_image(tmp_path / f"{number}.png")[..., 0], RAMP)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "a.jpg")[8, 8]
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_cut_off_file_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FeathersegError, match="damaged or cut off") as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "match"), [(b"", "not a picture"), (b"hello", "not a picture"), (b"\x89PNG\r\n\x1a\n", "a.png")]
)
def test_no_picture(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FeathersegError, match=match):
        read_image(tmp_path / "a.png")


def test_missing_file_folder_and_float(tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match="no such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(FeathersegError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(FeathersegError, match="floating point"):
        read_image(Image.new("F", (3, 3)))
    for wrong in (np.zeros((3, 3), np.uint8), np.zeros((3, 3, 3)), np.zeros((0, 3, 3), np.uint8), b"bytes"):
        with pytest.raises(FeathersegError, match="image"):
            read_image(wrong)  # type: ignore[arg-type]


def test_a_picture_too_large_for_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(FeathersegError, match="too large"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # Pillow warns above 40 and refuses above 80
    with pytest.raises(FeathersegError, match="too large"):  # to whom warnings are errors
        read_image(tmp_path / "a.png")
    script = "import sys, PIL.Image; PIL.Image.MAX_IMAGE_PIXELS = 40; import featherseg.runtime as r"
    read = [sys.executable, "-c", f"{script}; print(r.read_image(sys.argv[1]).shape)", str(tmp_path / "a.png")]
    done = subprocess.run(read, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(6, 9, 3)\n", "")


def test_reading_leaves_the_warning_filters_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one list for all threads."""
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    before, opened, seen = warnings.filters, Image.open, []

    def spying(path: str) -> Image.Image:
        seen.append(warnings.filters)
        return opened(path)

    monkeypatch.setattr(Image, "open", spying)
    read_image(tmp_path / "a.png")
    (during,) = seen
    assert during is before


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".gif", ".ppm", ".jp2", ".avif", ".tga"])
def test_what_stays_with_pillow_is_the_same_picture(tmp_path: Path, suffix: str) -> None:
    """Its file is closed by then."""
    if suffix not in Image.registered_extensions():
        pytest.skip("this Pillow does not know it")
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    array, picture = read_image(path), decoded(path)
    path.unlink()
    assert isinstance(picture, Image.Image)
    assert size_of(picture) == size_of(array) == (40, 60)
    np.testing.assert_array_equal(read_image(picture), array)
    np.testing.assert_array_equal(resize(picture, (20, 25)), resize(array, (20, 25)))
    np.testing.assert_array_equal(letterbox(picture, (64, 64))[0], letterbox(array, (64, 64))[0])
    mask = array[..., 0] % 2
    assert overlay(picture, mask, CLASSES).tobytes() == overlay(array, mask, CLASSES).tobytes()
    assert decoded(array) is array
    assert decoded(picture) is picture


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("needed", "expected"),
    [((90, 140), (100, 150)), ((101, 100), (200, 300)), ((500, 9), (400, 600)), ((9, 9), (50, 75))],
)
def test_a_draft_is_as_small_as_is_enough(
    tmp_path: Path, orientation: int, needed: tuple[int, int], expected: tuple[int, int]
) -> None:
    picture = resize(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8), (400, 600))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(picture) if orientation == 6 else picture
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    draft = decoded(tmp_path / "a.jpg", at_least=needed)
    assert size_of(draft) == expected
    assert np.abs(read_image(draft).astype(int) - resize(picture, expected)).mean() < 3
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert size_of(decoded(tmp_path / "a.png", at_least=needed)) == (400, 600)


def test_counted_ids() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (33, 47)).astype(np.uint8)
    np.testing.assert_array_equal(count_ids(mask), np.bincount(mask.ravel(), minlength=256))
    np.testing.assert_array_equal(count_ids(mask[::2, ::3]), np.bincount(mask[::2, ::3].ravel(), minlength=256))


def test_masks_keep_their_ids(tmp_path: Path) -> None:
    gray = Image.fromarray(RAMP)
    palette = gray.convert("P")
    palette.putpalette(list(range(255, -1, -1)) * 3)
    pictures = {"gray.png": gray, "palette.png": palette, "wide.png": Image.fromarray(RAMP.astype(np.uint16))}
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), RAMP)
    palette.point(lambda value: value % 16).save(tmp_path / "few.png", bits=4)
    np.testing.assert_array_equal(read_mask(tmp_path / "few.png"), RAMP % 16)


@pytest.mark.parametrize(("bits", "packed", "ids"), [(1, 0b10011011, 8), (2, 0b00011011, 4), (4, 0x0F, 2)])
def test_packed_gray_masks_are_not_stretched(tmp_path: Path, bits: int, packed: int, ids: int) -> None:
    write_png(tmp_path / "a.png", ids, 1, bits, 0, [bytes([packed])])
    expected = [packed >> (8 - bits * (place + 1)) & (1 << bits) - 1 for place in range(ids)]
    assert read_mask(tmp_path / "a.png")[0].tolist() == expected


def test_masks_that_hold_no_ids_are_refused(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "colour.png")
    with pytest.raises(FeathersegError, match=r"colour\.png.*a colour picture"):
        read_mask(tmp_path / "colour.png")
    Image.fromarray(RAMP.astype(np.uint16) * 2).save(tmp_path / "large.png")
    with pytest.raises(FeathersegError, match=r"0\.\.255"):
        read_mask(tmp_path / "large.png")


def test_resize_averages_what_it_leaves_out() -> None:
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize(stripes, (8, 8))
    assert small.shape == (8, 8, 3)
    assert abs(small[4, 4].astype(int) - 100).max() < 10
    assert resize(stripes, (8, 64)) is stripes


@pytest.mark.parametrize(("shape", "size"), [((10, 40), (32, 32)), ((40, 10), (32, 64)), ((1, 4000), (720, 960))])
def test_letterbox_keeps_the_aspect(shape: tuple[int, int], size: tuple[int, int]) -> None:
    framed, box = letterbox(np.full((*shape, 3), 9, np.uint8), size)
    assert framed.shape == (*size, 3)
    inside = np.zeros(size, bool)
    inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
    assert (framed[inside] == 9).all()
    assert (framed[~inside] == 128).all()
    scale = min(size[0] / shape[0], size[1] / shape[1])
    assert abs(box.height - shape[0] * scale) <= 1
    assert abs(box.width - shape[1] * scale) <= 1


def test_colourise_and_overlay() -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    coloured = colourise(mask, CLASSES)
    assert coloured.tolist() == [[[10, 20, 30], [200, 0, 0], [255, 255, 255]]]
    picture = np.full((1, 3, 3), 100, np.uint8)
    np.testing.assert_array_equal(np.asarray(overlay(picture, mask, CLASSES, 1.0)), coloured)
    np.testing.assert_array_equal(np.asarray(overlay(picture, mask, CLASSES, 0.0)), picture)
    with pytest.raises(FeathersegError, match="got 7"):
        colourise(np.array([[0, 7]], np.uint8), CLASSES)
    with pytest.raises(FeathersegError, match="opacity"):
        overlay(picture, mask, CLASSES, 2.0)
    with pytest.raises(FeathersegError, match="overlay"):
        overlay(picture, mask[:, :2], CLASSES)


def test_a_saved_mask_is_a_palette_picture(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    save_mask(mask, tmp_path / "m.png", CLASSES)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), mask)
    np.testing.assert_array_equal(read_image(tmp_path / "m.png"), colourise(mask, CLASSES))


def test_a_saved_mask_is_small(tmp_path: Path) -> None:
    """Run lengths suit masks better than Pillow's usual packing, which takes several times as long."""
    y, x = np.mgrid[:400, :600]
    mask = ((y - 200) ** 2 + (x - 300) ** 2 < 150**2).astype(np.uint8)
    save_mask(mask, tmp_path / "m.png", CLASSES)
    Image.fromarray(mask).save(tmp_path / "usual.png")
    assert (tmp_path / "m.png").stat().st_size < 1.2 * (tmp_path / "usual.png").stat().st_size


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, lambda file: file.write(b"old"))

    def half(file: object) -> None:
        file.write(b"ne")  # type: ignore[attr-defined]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_atomically(path, half)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match="cannot be written"):
        write_atomically(tmp_path / "nowhere" / "a.txt", lambda file: file.write(b"x"))


def test_the_ignored_colour_is_documented() -> None:
    assert pixels_module.IGNORED == (255, 255, 255)


def write_png(path: Path, width: int, height: int, bits: int, colour: int, rows: list[bytes]) -> None:
    """A PNG from packed rows; colour 0 is gray, 2 is RGB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "there" / "b.txt")
    write_atomically(link, lambda file: file.write(b"new"))
    assert link.is_symlink()
    assert (tmp_path / "there" / "b.txt").read_bytes() == b"new"
