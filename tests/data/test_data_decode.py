"""One encoded picture of every kind to an array."""

import contextlib
import io

import cv2
import numpy as np
import pytest
from data_making import bomb_png, deep_png, encoded, gradient, image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganforge.data.decode import decode, look, resize, to_channels
from ganforge.data.files import Broken
from ganforge.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
RGB = image(40, 60)
DEEP = gradient(40, 60, 1)[..., 0].astype(np.uint16) * 257 + 100


def rgb(data: bytes, size: tuple[int, int] = (40, 60), channels: int = 3, dtype=U8) -> np.ndarray:
    return decode(data, "x", size, channels, dtype).pixels


LOSSLESS = {
    "png": encoded(RGB),
    "bmp": encoded(RGB, "BMP"),
    "tiff": encoded(RGB, "TIFF"),
    "tga": encoded(RGB, "TGA"),
    "ppm": encoded(RGB, "PPM"),
    "webp": encoded(RGB, "WEBP", lossless=True),
    "rgba": encoded(RGB.convert("RGBA")),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_kinds_are_exact(kind: str) -> None:
    assert np.array_equal(rgb(LOSSLESS[kind]), np.asarray(RGB))


@pytest.mark.parametrize(
    "data",
    [
        encoded(RGB, "JPEG", quality=95),
        encoded(RGB.convert("CMYK"), "JPEG", quality=95),
        encoded(RGB.convert("YCbCr"), "TIFF"),
        encoded(RGB.convert("LAB"), "TIFF"),
        encoded(RGB.quantize(256)),
        encoded(RGB.quantize(256), "GIF"),
        encoded(RGB, "JPEG2000"),
    ],
    ids=["jpeg", "cmyk", "ycbcr", "lab", "palette", "gif", "jp2"],
)
def test_other_kinds_are_near(data: bytes) -> None:
    assert np.abs(rgb(data).astype(int) - np.asarray(RGB)).mean() < 5


def test_grey_and_bits() -> None:
    grey = RGB.convert("L")
    assert np.array_equal(rgb(encoded(grey), channels=1)[..., 0], np.asarray(grey))
    assert set(np.unique(rgb(encoded(RGB.convert("1")), channels=1))) == {0, 255}
    assert not look(encoded(grey), "x").colour
    assert look(encoded(RGB), "x").colour


def test_a_grey_palette_is_grey() -> None:
    grey = RGB.convert("L").convert("P")
    assert grey.mode == "P"
    assert not look(encoded(grey), "x").colour
    assert look(encoded(RGB.quantize(8)), "x").colour


@pytest.mark.parametrize(
    "data", [encoded(Image.fromarray(DEEP)), encoded(Image.fromarray(DEEP), "TIFF")]
)
def test_16_bit_grey_is_kept(data: bytes) -> None:
    assert look(data, "x").deep
    assert np.array_equal(rgb(data, channels=1, dtype=U16)[..., 0], DEEP)
    assert np.array_equal(rgb(data, channels=1)[..., 0], np.rint(DEEP / 257))


def test_16_bit_pgm_is_kept() -> None:
    data = b"P5 60 40 65535\n" + DEEP.astype(">u2").tobytes()
    assert np.array_equal(rgb(data, channels=1, dtype=U16)[..., 0], DEEP)


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA;16"), (3, "RGB;16"), (4, "RGBA;16")])
def test_16_bit_channels_are_kept(channels: int, mode: str) -> None:
    x = np.random.default_rng(0).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    data = deep_png(x)
    seen = look(data, "x")
    assert (seen.mode, seen.deep, seen.colour) == (mode, True, channels > 2)
    assert np.array_equal(rgb(data, (20, 30), channels, U16), x)


@pytest.mark.parametrize("compression", [1, 5, 8])  # none, LZW, deflate
def test_16_bit_tiff_and_png_of_another_writer(compression: int) -> None:
    x = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    for kind, options in ((".png", []), (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, compression])):
        data = cv2.imencode(kind, np.ascontiguousarray(x[..., ::-1]), options)[1].tobytes()
        assert np.array_equal(rgb(data, (20, 30), dtype=U16), x)


def test_8_bits_among_16_fill_the_range() -> None:
    white = encoded(Image.new("RGB", (8, 8), "white"))
    assert (rgb(white, (8, 8), dtype=U16) == 65535).all()


def test_transparent_parts_are_laid_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert (rgb(encoded(clear), (8, 8)) == 255).all()
    assert (rgb(encoded(half), (8, 8)) == 127).all()
    assert rgb(encoded(half), (8, 8), channels=4)[0, 0].tolist() == [0, 0, 0, 128]
    assert rgb(encoded(half), (8, 8), channels=2)[0, 0].tolist() == [0, 128]
    assert rgb(encoded(RGB), channels=4)[0, 0, 3] == 255


def test_a_transparent_palette_colour() -> None:
    im = Image.new("P", (8, 8), 0)
    im.putpalette([255, 0, 0, 0, 0, 255])
    assert (rgb(encoded(im, transparency=0), (8, 8)) == 255).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation(turn: int) -> None:
    """The picture as the camera's owner sees it, whichever way the camera was held."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = RGB.transpose(undo[turn]) if turn in undo else RGB
    data = encoded(stored, "PNG", exif=exif)
    seen = look(data, "x")
    assert seen.size == (40, 60)
    assert seen.turned == (turn > 1)
    assert np.array_equal(rgb(data), np.asarray(RGB))
    small = rgb(data, (20, 16)).astype(int)
    assert np.abs(small - resize(np.asarray(RGB), (20, 16))).max() <= 1


def test_only_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (9, 9), c) for c in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert rgb(data, (9, 9))[4, 4, 0] > 200
        assert look(data, "x").frames


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        encoded(RGB, "JPEG")[:500],
        encoded(RGB)[:100],
        encoded(RGB)[:40],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
    ],
    ids=["empty", "text", "jpeg", "png", "header", "postscript", "floats", "int32"],
)
def test_what_cannot_be_decoded_has_a_reason(data: bytes) -> None:
    with pytest.raises(Broken) as e:
        rgb(data)
    assert 3 < len(str(e.value)) < 130
    assert "\n" not in str(e.value)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]),
    place=st.integers(0, 10**6),
    byte=st.integers(0, 255),
    cut=st.integers(1, 10**6),
)
def test_a_damaged_file_is_a_picture_or_broken(kind: str, place: int, byte: int, cut: int) -> None:
    data = bytearray(encoded(image(12, 12), kind))
    data[place % len(data)] = byte
    # A byte in the header may claim very many pixels, which is a UserError.
    with contextlib.suppress(Broken, UserError):
        assert rgb(bytes(data[: max(1, cut % (2 * len(data)))]), (8, 8)).shape == (8, 8, 3)


def test_a_decompression_bomb_is_refused_by_name() -> None:
    for data in (bomb_png(), bomb_png(12_500)):
        for read in (lambda d=data: rgb(d), lambda d=data: look(d, "x")):
            with pytest.raises(UserError, match=r"x unpacks to .* pixels.*bomb"):
                read()


def test_five_channels_are_no_picture() -> None:
    with pytest.raises(UserError, match="1 to 4"):
        rgb(encoded(RGB), channels=5)


# -- channels and size ----------------------------------------------------------------------
@pytest.mark.parametrize("have", [1, 2, 3, 4])
@pytest.mark.parametrize("want", [1, 2, 3, 4])
def test_channels(have: int, want: int) -> None:
    x = np.full((3, 3, have), 100, np.uint8)
    if have in (2, 4):
        x[..., -1] = 255
    y = to_channels(x, want)
    assert y.shape == (3, 3, want)
    assert (y[..., : want - (want in (2, 4))] == 100).all()
    assert want in (1, 3) or (y[..., -1] == 255).all()


@settings(max_examples=80, deadline=None)
@given(
    h=st.integers(1, 90),
    w=st.integers(1, 90),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 2, 3, 5]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    value=st.integers(0, 255),
)
def test_any_size_to_any_size(h, w, size, channels, dtype, value) -> None:
    y = resize(np.full((h, w, channels), value, dtype), size)
    assert y.shape == (*size, channels)
    assert y.dtype == dtype
    assert (y == value).all()


def test_the_crop_is_central() -> None:
    x = np.zeros((10, 30, 1), np.uint8)
    x[:, 10:20] = 200
    assert (resize(x, (10, 10)) == 200).all()
    assert (resize(x.transpose(1, 0, 2), (10, 10)) == 200).all()


def test_resizing_does_not_alias() -> None:
    stripes = np.zeros((128, 128, 1), np.uint8)
    stripes[:, ::2] = 255
    inner = resize(stripes, (32, 32))[2:-2, 2:-2].astype(int)
    assert np.abs(inner - 127.5).max() < 4


def test_a_fraction_of_a_jpeg_is_nearly_the_whole() -> None:
    big = RGB.resize((1200, 800), Image.Resampling.BICUBIC)
    data = encoded(big, "JPEG", quality=95)
    exact = resize(np.asarray(Image.open(io.BytesIO(data))), (32, 48)).astype(int)
    assert np.abs(rgb(data, (32, 48)) - exact).mean() < 1
