"""Picture files are opened as they are meant to be seen, or refused in a few words."""

import io
import os
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from spl.data.images.files import UnreadableError, as_rgb, colour_of, fault_of, open_image

RAMP = np.arange(256)  # of which each picture below is made, 16 x 16
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def grey_of(path: Path, background: str = "white") -> np.ndarray:
    """Return the values of a picture that has no colour."""
    pixels = np.asarray(open_image(path, background))
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def tiff(
    values: bytes,
    bits: int,
    *,
    photometric: int = 1,
    kind: int = 1,
    is_big_endian: bool = False,
    more: tuple[tuple[int, int, float], ...] = (),
) -> bytes:
    """Return a grey TIFF file of 16 x 16; ``more`` are tags: number, type (3: short, 11: float), value."""
    end = ">" if is_big_endian else "<"
    tags = [(256, 3, 16), (257, 3, 16), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0)]
    tags += [(277, 3, 1), (278, 3, 16), (279, 4, len(values)), (339, 3, kind), *more]
    head = (b"MM\0*" if is_big_endian else b"II*\0") + struct.pack(end + "IH", 8, len(tags))
    for tag, sort, value in sorted(tags):
        value = 8 + 2 + 12 * len(tags) + 4 if tag == 273 else value
        packed = struct.pack(end + {3: "Hxx", 4: "I", 11: "f"}[sort], value)
        head += struct.pack(end + "HHI", tag, sort, 1) + packed
    return head + struct.pack(end + "I", 0) + values


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_picture_is_turned_as_its_exif_says(orientation: int, ending: str, tmp_path: Path) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255, 0, 0  # red above to the left, blue above to the right
    upright[:8, -8:] = 0, 0, 255
    stored = {  # where row 0 and column 0 of what is stored belong: TIFF 6.0, tag 274
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a.{ending}"
    how = {"lossless": True} if ending == "webp" else {"quality": 100} if ending == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **how)
    opened = np.asarray(open_image(path)).astype(int)
    assert opened.shape == upright.shape
    assert np.abs(opened - upright)[:6, [*range(6), *range(26, 32)]].max() < 12


@pytest.mark.parametrize(("sort", "value"), [(3, 0), (3, 9), (3, 65535), (2, ord("3")), (4, 2**31), (99, 3)])
def test_an_orientation_that_there_is_not_turns_nothing(sort: int, value: int, tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, sort, 1, value, 0)
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(grey_of(tmp_path / "a.png"), GREY)
    Image.fromarray(GREY).save(tmp_path / "b.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=100)
    assert np.abs(grey_of(tmp_path / "b.jpg").astype(int) - GREY).max() < 4  # EXIF that is broken


def test_what_is_transparent_shows_the_background(tmp_path: Path) -> None:
    alpha = np.tile(GREY.reshape(256)[::17], (16, 1))  # 0, 17, ..., 255 from left to right
    black = np.zeros((16, 16), np.uint8)
    colour = Image.merge("RGBA", [*[Image.fromarray(black)] * 3, Image.fromarray(alpha)])
    colour.save(tmp_path / "rgba.png")
    colour.save(tmp_path / "rgba.webp", lossless=True, exact=True)
    colour.save(tmp_path / "rgba.tif")
    colour.save(tmp_path / "rgba.tga")
    colour.getchannel("A").save(tmp_path / "alone.png")
    Image.merge("LA", [Image.fromarray(black), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    palette = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8), (16, 1)), "P")
    palette.putpalette([0] * 48)
    palette.save(tmp_path / "palette.png", transparency=bytes(range(0, 256, 17)))
    for name in ("rgba.png", "rgba.webp", "rgba.tif", "rgba.tga", "la.png", "palette.png"):
        assert np.array_equal(grey_of(tmp_path / name), 255 - alpha), name
        assert (grey_of(tmp_path / name, "black") == 0).all(), name
    premultiplied = colour.convert("RGBa")
    assert np.array_equal(np.asarray(as_rgb(premultiplied))[..., 0], 255 - alpha)
    laid = np.asarray(open_image(tmp_path / "rgba.png", "#ff0080"))
    assert laid[0, 0].tolist() == [255, 0, 128]
    assert laid[0, -1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "I;16"])
def test_a_single_transparent_value_shows_the_background(mode: str, tmp_path: Path) -> None:
    picture = np.zeros((16, 16), np.uint8)
    picture[:, 8:] = 200 if mode == "L" else 255
    image = Image.fromarray(picture)
    if mode == "I;16":
        image = Image.fromarray(picture.astype(np.uint16) * 257)
    key = {"RGB": (0, 0, 0)}.get(mode, 0)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / "a.png", transparency=key)
    opened = grey_of(tmp_path / "a.png", "#404040")
    assert set(opened[:, :8].ravel()) == {0x40}
    assert (opened[:, 8:] == picture[:, 8:]).all()
    image = Image.fromarray(picture).convert("P")
    image.save(tmp_path / "a.gif", transparency=image.getpixel((0, 0)))
    assert set(grey_of(tmp_path / "a.gif", "#404040")[:, :8].ravel()) == {0x40}


@pytest.mark.parametrize("ending", ["png", "tif", "pgm", "jp2"])
def test_16_bits_a_value_become_8(ending: str, tmp_path: Path) -> None:
    Image.fromarray((257 * RAMP).astype(np.uint16).reshape(16, 16)).save(tmp_path / f"a.{ending}")
    assert np.array_equal(grey_of(tmp_path / f"a.{ending}"), GREY)  # converted to RGB by Pillow: all white


WIDE = {
    "big-endian": tiff((257 * RAMP).astype(">u2").tobytes(), 16, is_big_endian=True),
    "range named": tiff(RAMP.astype("<u2").tobytes(), 16, more=((281, 3, 255),)),
    "both ends named": tiff((RAMP + 100).astype("<u2").tobytes(), 16, more=((280, 3, 100), (281, 3, 355))),
    "signed, range named": tiff(RAMP.astype("<i2").tobytes(), 16, kind=2, more=((341, 3, 255),)),
    "32 bits, range named": tiff((4 * RAMP).astype("<i4").tobytes(), 32, kind=2, more=((281, 3, 1020),)),
    "floats to 1": tiff((RAMP / 255).astype("<f4").tobytes(), 32, kind=3),
    "floats to 255, named": tiff(RAMP.astype("<f4").tobytes(), 32, kind=3, more=((341, 11, 255.0),)),
    "white is zero": tiff((257 * RAMP[::-1]).astype("<u2").tobytes(), 16, photometric=0),
    "white is zero, floats": tiff((1 - RAMP / 255).astype("<f4").tobytes(), 32, photometric=0, kind=3),
}


@pytest.mark.parametrize("name", WIDE)
def test_wide_values_are_read_by_what_the_file_says_of_them(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(WIDE[name])
    assert np.array_equal(grey_of(tmp_path / "a.tif"), GREY)
    assert fault_of(tmp_path / "a.tif") is None


def test_12_bits_a_value_are_4095_at_most(tmp_path: Path) -> None:
    values = RAMP * 4095 // 255
    packed = np.zeros(384, np.uint8)  # two values in three bytes
    packed[0::3] = values[0::2] >> 4
    packed[1::3] = ((values[0::2] & 15) << 4) | (values[1::2] >> 8)
    packed[2::3] = values[1::2] & 255
    (tmp_path / "a.tif").write_bytes(tiff(packed.tobytes(), 12))
    assert np.array_equal(grey_of(tmp_path / "a.tif"), GREY)


GUESSED = {
    "floats in 0..255": tiff(RAMP.astype("<f4").tobytes(), 32, kind=3),
    "floats in nan..nan": tiff((np.full(256, np.nan)).astype("<f4").tobytes(), 32, kind=3),
    "floats in -1..1": tiff((RAMP / 127.5 - 1).astype("<f4").tobytes(), 32, kind=3),
    "floats in 0..inf": tiff(np.where(RAMP, np.inf, 0).astype("<f4").tobytes(), 32, kind=3),
    "integers in 0..255": tiff(RAMP.astype("<i4").tobytes(), 32, kind=2),
    "integers in -128..127": tiff((RAMP - 128).astype("<i2").tobytes(), 16, kind=2),
}


@pytest.mark.parametrize("told", GUESSED)
def test_values_whose_range_is_not_known_are_refused(told: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(GUESSED[told])
    with pytest.raises(UnreadableError, match=f"its values are {told}.*: save it with 8 or 16 bits"):
        open_image(tmp_path / "a.tif")
    assert told in str(fault_of(tmp_path / "a.tif"))  # reported before training, though the header is whole


def test_printing_inks_and_other_colours_are_brought_to_red_green_and_blue(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (0, 200, 200, 20))
    inks.save(tmp_path / "adobe.jpg", quality=100)
    inks.save(tmp_path / "inks.tif")
    data = (tmp_path / "adobe.jpg").read_bytes()
    marker = data.index(b"\xff\xee")
    end = marker + 2 + int.from_bytes(data[marker + 2 : marker + 4], "big")
    Image.new("CMYK", (16, 16), (255, 55, 55, 235)).save(tmp_path / "turned.jpg", quality=100)
    turned = (tmp_path / "turned.jpg").read_bytes()
    (tmp_path / "plain.jpg").write_bytes(turned[:marker] + turned[end:])  # without Adobe's mark, 0 is no ink
    for name in ("adobe.jpg", "inks.tif", "plain.jpg"):
        assert np.abs(np.subtract(open_image(tmp_path / name).getpixel((8, 8)), (235, 51, 51))).max() <= 2
    colour = Image.new("RGB", (16, 16), (200, 40, 60))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(colour, *profiles, outputMode="LAB")
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    colour.convert("YCbCr").save(tmp_path / "ycbcr.tif")
    for image in (open_image(tmp_path / "lab.tif"), open_image(tmp_path / "ycbcr.tif")):
        assert np.abs(np.subtract(image.getpixel((8, 8)), (200, 40, 60))).max() <= 2
    assert as_rgb(colour.convert("HSV")).getpixel((8, 8)) == pytest.approx((200, 40, 60), abs=4)


def test_of_several_frames_the_first_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (16, 16), level) for level in (10, 100, 200)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert np.abs(grey_of(tmp_path / name).astype(int) - 10).max() <= 2, name


@pytest.mark.parametrize(
    "kind", ["avif", "bmp", "dds", "gif", "ico", "jp2", "jpeg", "pcx", "ppm", "qoi", "sgi", "tga", "webp"]
)
def test_whatever_pillow_opens_is_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    Image.new("RGB", (32, 32), (200, 40, 60)).save(path)
    assert np.abs(np.subtract(open_image(path).getpixel((16, 16)), (200, 40, 60))).max() <= 6
    assert fault_of(path) is None
    assert fault_of(path, is_thorough=True) is None


NONE = {
    "empty": b"",
    "HEIC, which Pillow does not read: convert it": b"\0\0\0\x18ftypheic" + b"\0" * 500,
    "an SVG drawing, which has no pixels: export it as PNG": b"\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a Git LFS pointer: git lfs pull fetches the picture": b"version https://git-lfs.github.com/spec/v1\noid",
    "an HTML page, as a failed download leaves it": b"<!DOCTYPE html><html>404</html>",
    "a PDF document": b"%PDF-1.7 ...",
    "a PostScript document": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n",
    "JPEG XL, which Pillow does not read: convert it": b"\0\0\0\x0cJXL \r\n\x87\n",
    "a video": b"\0\0\0\x18ftypisom" + b"\0" * 100,
    "a ZIP archive": b"PK\3\4" + b"\0" * 30,
    "it begins with zeros only": b"\0" * 4096,
    "no picture": b"name,label\n1,2\n",
}


@pytest.mark.parametrize("told", NONE)
def test_what_is_no_picture_is_told_by_its_first_bytes(told: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(NONE[told])
    assert fault_of(tmp_path / "a.png") == told


def test_a_tga_file_is_known_by_its_ending_as_it_has_no_mark(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.tga")
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.tga").read_bytes())
    assert (fault_of(tmp_path / "a.tga"), fault_of(tmp_path / "a.bin")) == (None, "no picture")


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_picture_that_is_cut_is_found_without_being_asked_to_read_it_all(
    kind: str, share: float, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{kind}")
    data = (tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"a.{kind}").write_bytes(data[: int(share * len(data))])
    assert fault_of(tmp_path / f"a.{kind}") is not None


def test_a_fault_in_the_middle_is_found_by_reading_to_the_end(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(bytes(data))
    assert fault_of(tmp_path / "a.png") is None
    assert fault_of(tmp_path / "a.png", is_thorough=True) is not None


def test_no_bytes_raise_anything_else(tmp_path: Path) -> None:
    generator, path = np.random.default_rng(0), tmp_path / "a.bin"
    for kind in ("bmp", "gif", "jpeg", "png", "tiff", "webp", "ppm", "tga", "ico", "avif", "jpeg2000", "dds"):
        file = io.BytesIO()
        Image.fromarray(GREY).convert("RGB").save(file, kind)
        for _ in range(25):
            data = bytearray(file.getvalue())
            for place in generator.integers(0, min(len(data), 200), 6):
                data[place] = generator.integers(0, 256)
            path.write_bytes(bytes(data))
            fault_of(path, is_thorough=True)  # a sentence or None


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("fifo.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    started = time.monotonic()
    for name in ("fifo.png", "link.png"):
        with pytest.raises(UnreadableError, match="it is not a regular file"):
            open_image(tmp_path / name)
    with pytest.raises(UnreadableError, match="it is not a regular file"):
        open_image("/dev/zero")
    with pytest.raises(UnreadableError, match="it is a folder"):
        open_image(tmp_path / "folder.png")
    with pytest.raises(UnreadableError, match="No such file"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(UnreadableError, match="symbolic links"):
        open_image(tmp_path / "circle.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket.png"))
        assert fault_of(tmp_path / "socket.png") is not None
    assert time.monotonic() - started < 5


def test_a_line_of_pixels_is_refused_before_it_is_made_as_wide_as_a_picture(tmp_path: Path) -> None:
    Image.new("L", (1, 20_000)).save(tmp_path / "a.png")
    assert fault_of(tmp_path / "a.png") == "1 x 20000 pixels are a line rather than a picture"


def test_a_picture_of_a_hundred_million_pixels_is_read_without_a_warning(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png")
    assert fault_of(tmp_path / "a.png") is None
    Image.new("1", (20_000, 10_000)).save(tmp_path / "b.png")
    assert "exceeds limit" in str(fault_of(tmp_path / "b.png"))


def test_a_background_is_a_colour() -> None:
    assert colour_of("white") == colour_of("#fff") == colour_of("rgb(255, 255, 255)") == (255, 255, 255)
    for name in ("whyte", "#ff000080", ""):
        with pytest.raises(ValueError, match="background must be a colour such as white"):
            colour_of(name)
