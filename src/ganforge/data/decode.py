"""One encoded picture to an array."""

from __future__ import annotations

import io
import logging
import struct
import sys
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ganforge.data.files import Broken, reason
from ganforge.errors import UserError

MAX_PIXELS = 1 << 27  # 134 million; more is taken for a decompression bomb
EXTENSIONS = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
        ".ico",
        ".jp2",
        ".j2k",
        ".avif",
    ]
)
# Only decoders that decode: others start programs (PostScript) or are never pictures of a set.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "AVIF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the turn that undoes it; from 5 on the sides are exchanged."""

# Of odd files it warns line by line; ours are counted and named instead. (A filter for all
# threads: `catch_warnings` is not made for several.)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Look:
    """What a picture is, before anything is done to it.

    Attributes:
        size: (H, W), upright.
        mode: as the file has it: "RGB", "P", "I;16", "RGB;16" ...
        colour: it has colours.
        deep: it has more than 8 bits a channel.
        frames: it is animated.
        turned: its EXIF data say that it lies on a side.
        alpha: some of it may be transparent.
    """

    size: tuple[int, int]
    mode: str
    colour: bool
    deep: bool
    frames: bool
    turned: bool
    alpha: bool


@dataclass(frozen=True)
class Picture:
    """A decoded picture: (H, W, C), and what it was."""

    pixels: np.ndarray
    look: Look


def look(data: bytes, name: str) -> Look:
    """What the header says.

    Raises:
        Broken: it is no picture.
        UserError: it is a decompression bomb.
    """
    return _look(_open(data, name))[0]


def decode(
    data: bytes, name: str, size: tuple[int, ...], channels: int, dtype: np.dtype
) -> Picture:
    """The picture upright, at `size` (H, W), with `channels` channels.

    The first frame of an animation. It is scaled by an antialiasing filter (Lanczos) until it
    covers `size` and cropped about its centre. Transparent parts are laid over white, unless
    the transparency is asked for (2 or 4 channels). 16-bit values are kept where `dtype` is
    uint16.

    Raises:
        Broken: it cannot be decoded.
        UserError: it is a decompression bomb, or `channels` is none of 1 to 4.
    """
    im = _open(data, name)
    seen, turn = _look(im)
    if channels not in (1, 2, 3, 4):
        raise UserError(f"pictures have 1 to 4 channels; --channels {channels} was asked for")
    target = (size[1], size[0]) if turn is not None and turn >= 5 else (size[0], size[1])
    try:
        if seen.deep:
            x = _deep(im, data)
        else:
            # JPEG can be decoded at a fraction of its size, in an eighth of the time.
            im.draft(None, (2 * target[1], 2 * target[0]))
            x = _flat(im)
    except MemoryError:
        raise Broken(f"no memory for {seen.size[0]}x{seen.size[1]} pixels") from None
    except Exception as e:  # decoders raise many kinds for broken data
        raise Broken(reason(e)) from None
    x = to_channels(x, channels)
    x = resize(x, target)
    if turn is not None:
        x = _turned(x, turn)
    if dtype == np.uint16 and x.dtype == np.uint8:
        x = x.astype(np.uint16) * 257
    elif dtype == np.uint8 and x.dtype == np.uint16:
        x = np.rint(x / 257).astype(np.uint8)
    return Picture(np.ascontiguousarray(x), seen)


def _open(data: bytes, name: str) -> Image.Image:
    try:
        im = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise _bomb(name, "more than 178 million") from None
    except Exception as e:
        if not data or "identify" in str(e):
            raise Broken("no picture" if data else "it is empty") from None
        raise Broken(reason(e)) from None
    if im.width * im.height > MAX_PIXELS:
        raise _bomb(name, f"{im.width}x{im.height}")
    return im


def _bomb(name: str, pixels: str) -> UserError:
    return UserError(
        f"{name} unpacks to {pixels} pixels, over the limit of {MAX_PIXELS // 10**6} million (a "
        "decompression bomb?); remove it, or shrink it if it is yours"
    )


def _look(im: Image.Image) -> tuple[Look, int | None]:
    raw = _raw_mode(im)  # before the EXIF data are read, which may decode all of it
    try:
        turn = im.getexif().get(0x0112)
        frames = bool(getattr(im, "is_animated", False))
    except Exception:  # a picture with broken EXIF data is still a picture
        turn, frames = None, False
    turn = turn if turn in _TURNS else None
    kinds = {"RGB": "RGB;16", "RGBA": "RGBA;16", "LA": "LA;16"}
    mode = kinds.get(raw[:-4], im.mode) if raw[-4:-1] == ";16" else im.mode
    if im.mode == "P":
        try:
            palette = np.array(im.getpalette() or [0, 0, 0]).reshape(-1, 3)
        except Exception as e:
            raise Broken(reason(e)) from None
        colour = bool((palette != palette[:, :1]).any())
    else:
        colour = not mode.startswith(("1", "L", "I", "F")) or mode == "LAB"
    sides = (im.width, im.height) if turn is not None and turn >= 5 else (im.height, im.width)
    seen = Look(
        size=sides,
        mode=mode,
        colour=colour,
        deep=mode.startswith("I") or mode.endswith(";16"),
        frames=frames,
        turned=turn is not None,
        alpha=im.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in im.info,
    )
    return seen, turn


def _flat(im: Image.Image) -> np.ndarray:
    """8-bit pixels (H, W, 1 to 4)."""
    if im.mode == "F":
        raise Broken("its pixels are 32-bit floats; save it with 8 or 16 bits, or as .npy")
    grey = im.mode in ("1", "L", "LA", "La")
    if im.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in im.info:
        im = im.convert("LA" if grey else "RGBA")
    else:
        im = im.convert("L" if grey else "RGB")
    x = np.asarray(im)
    return x if x.ndim == 3 else x[..., None]


def _deep(im: Image.Image, data: bytes) -> np.ndarray:
    """16-bit pixels (H, W, 1 to 4)."""
    if im.mode == "I" and im.format not in ("PNG", "PPM"):  # where it means 16 bits
        raise Broken("its pixels are 32-bit integers; save it with 8 or 16 bits, or as .npy")
    if im.mode.startswith("I"):
        return np.asarray(im)[..., None].astype(np.uint16)
    again = _open(data, "")
    raw = _raw_mode(again)
    if raw == "LA;16B":  # to a decoder of bytes, four channels of 8 bits: high, low, high, low
        head = data[12:24] + b"\x08\x06" + data[26:29]
        plain = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
        x = np.asarray(_open(plain, "")).astype(np.uint16)
        return x[..., ::2] << 8 | x[..., 1::2]
    # Pillow keeps one byte of each two, the high one. Asked for the other byte order it keeps
    # the low one.
    other = raw[:-1] + {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[raw[-1]]
    codec, box, offset, args = again.tile[0]  # type: ignore[attr-defined]
    args = other if isinstance(args, str) else (other, *args[1:])
    again.tile = [type(again.tile[0])(codec, box, offset, args)]  # type: ignore[attr-defined]
    high, low = np.asarray(im).astype(np.uint16), np.asarray(again)
    return high << 8 | low


def _raw_mode(im: Image.Image) -> str:
    """How the file lays out a pixel: "RGB", "RGB;16B" ..."""
    tile = getattr(im, "tile", None)
    args = tile[0][3] if tile else ""
    args = args[0] if isinstance(args, tuple) and args else args
    return args if isinstance(args, str) else ""


def _turned(x: np.ndarray, turn: int) -> np.ndarray:
    planes = [np.asarray(Image.fromarray(p).transpose(_TURNS[turn])) for p in np.moveaxis(x, -1, 0)]
    return np.stack(planes, -1)


def to_channels(x: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, 1 to 4) grey, grey and alpha, RGB or RGBA to 1 to 4 channels of the same kinds.
    Colour becomes luminance (ITU-R 601-2); lost transparency is laid over white."""
    top = np.iinfo(x.dtype).max
    colour, alpha = (x, None) if x.shape[-1] in (1, 3) else (x[..., :-1], x[..., -1:])
    if channels in (1, 2) and colour.shape[-1] == 3:
        colour = np.rint(colour @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    elif channels in (3, 4) and colour.shape[-1] == 1:
        colour = np.repeat(colour, 3, -1)
    if channels in (2, 4):
        opaque = np.full_like(colour[..., :1], top) if alpha is None else alpha
        colour = np.concatenate([colour, opaque], -1)
    elif alpha is not None:
        share = alpha.astype(np.float32) / top
        colour = np.rint(colour * share + top * (1 - share))
    return colour.astype(x.dtype, copy=False)


def resize(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W, C) uint8 or uint16 to `size` (H', W'): antialiased (Lanczos) until it covers the
    size, cropped about the centre."""
    (h, w), (height, width) = x.shape[:2], size
    if (h, w) == (height, width):
        return x
    scale = max(height / h, width / w)
    top, left = max(0.0, h - height / scale) / 2, max(0.0, w - width / scale) / 2
    box = (left, top, w - left, h - top)

    def one(plane: np.ndarray) -> np.ndarray:
        im = Image.fromarray(plane)
        return np.asarray(im.resize((width, height), Image.Resampling.LANCZOS, box))

    if x.dtype == np.uint8 and x.shape[-1] in (3, 4):
        return one(x)
    if x.dtype == np.uint8:
        return np.stack([one(p) for p in np.ascontiguousarray(np.moveaxis(x, -1, 0))], -1)
    planes = [one(p.astype(np.float32)) for p in np.moveaxis(x, -1, 0)]
    return np.clip(np.rint(np.stack(planes, -1)), 0, 65535).astype(np.uint16)
