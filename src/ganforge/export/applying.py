"""A trained translator or restorer on whole pictures: files, folders and arrays, of any size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ganforge import draws
from ganforge.data import Dataset, open_source
from ganforge.data.decode import EXTENSIONS, decode, look
from ganforge.data.degrade import Degradation, degradation, grey, read_mask, with_holes
from ganforge.data.files import Broken, Folder
from ganforge.data.pictures import to_bytes
from ganforge.errors import UserError
from ganforge.export.samples import as_bytes, aside_of, unwritable
from ganforge.gallery import beside as side_by_side
from ganforge.generator import Generator

TILE, OVERLAP = 512, 64
ALIGNED = 64
"""Tiles begin at multiples of this, or of what a network that halves more often brings its pictures
to, so that they see the same grid."""

WRITABLE = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


# -- tensors --------------------------------------------------------------------------------
def tiled(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    tile: int = TILE,
    overlap: int = OVERLAP,
    aligned: int = ALIGNED,
) -> Tensor:
    """net(x) for x (N, C, H, W) of any size: whole where no side is longer than `tile`, else
    in tiles, begun at multiples of `aligned`, whose results fade into each other over `overlap`
    pixels.

    Raises:
        UserError: the overlap leaves nothing of a tile.
    """
    h, w = x.shape[2:]
    if max(h, w) <= tile:
        return net(x)
    stride = (tile - overlap) // aligned * aligned
    if overlap < 0 or stride < 1:
        raise UserError(
            f"tiles of {tile} with an overlap of {overlap} do not advance; use --tile "
            f"{max(128, overlap + aligned)} or more, or a smaller --overlap"
        )
    whole: Tensor | None = None
    weights: Tensor | None = None
    for top in _starts(h, tile, stride):
        for left in _starts(w, tile, stride):
            y = net(x[:, :, top : top + tile, left : left + tile])
            f = y.shape[2] // min(tile, h - top)
            if whole is None or weights is None:
                whole = y.new_zeros(len(x), y.shape[1], h * f, w * f)
                weights = y.new_zeros(1, 1, h * f, w * f)
            fade = _fade(top, tile, h, overlap, f)[:, None] * _fade(left, tile, w, overlap, f)
            rows = slice(top * f, top * f + y.shape[2])
            columns = slice(left * f, left * f + y.shape[3])
            fade = fade[: y.shape[2], : y.shape[3]].to(y)
            whole[:, :, rows, columns] += y * fade
            weights[:, :, rows, columns] += fade
    assert whole is not None
    assert weights is not None
    return whole.div_(weights)


def _starts(side: int, tile: int, stride: int) -> list[int]:
    """Where tiles begin; the last reaches the end."""
    count = max(1, -(-(side - tile) // stride) + 1)
    return [i * stride for i in range(count)]


def _fade(start: int, tile: int, side: int, overlap: int, factor: int) -> Tensor:
    """(length,) weights of a tile: 1, falling over the overlap at sides within the picture.
    The outer quarter counts for nothing: there a network sees too little of what is around."""
    length = min(tile, side - start) * factor
    at = torch.arange(length, dtype=torch.float32)
    edge = overlap * factor
    dead = edge / 4
    weight = torch.ones(length)
    if edge and start > 0:
        weight = weight * ((at + 0.5 - dead) / (edge - 2 * dead)).clamp(0, 1)
    if edge and start + tile < side:
        weight = weight * ((length - at - 0.5 - dead) / (edge - 2 * dead)).clamp(0, 1)
    return weight.clamp(min=1e-6)


@dataclass(frozen=True)
class Applier:
    """A loaded generator that starts from a source, made ready for pictures.

    Args:
        generator: see `ganforge.load`.
        back: from samples to sources, where the game has learnt that too (cyclegan).
        tile, overlap: see `tiled`.
        damage: do to each picture first what was done in training.

    Raises:
        UserError: the generator starts from noise, or knows no way back.
    """

    generator: Generator
    back: bool = False
    tile: int = TILE
    overlap: int = OVERLAP
    damage: bool = False

    def __post_init__(self) -> None:
        path, spec = self.generator.run.path, self.generator.spec
        if spec.source is None:
            raise UserError(
                f"{path} makes samples from noise and transforms nothing; use 'ganforge sample {path}'"
            )
        if len(spec.source) != 3:
            raise UserError(f"apply takes pictures; {path} transforms samples of {spec.source}")
        if self.back and "F" not in self.generator.nets:
            raise UserError(f"{path} has learnt no way back; only cyclegan does: leave --back away")
        if self.damage and self.degradation is None:
            raise UserError(f"{path} was not trained on damaged pictures; leave --damage away")

    @property
    def degradation(self) -> Degradation | None:
        text = self.generator.config.get("data_options", {}).get("degrade")
        return degradation(text) if text else None

    @property
    def channels(self) -> int:
        """Of the pictures that it takes, without a mask."""
        spec, damage = self.generator.spec, self.degradation
        assert spec.source is not None
        if self.back or (damage is not None and self.damage):
            return spec.shape[0]
        return spec.source[0] - (damage is not None and damage.masks)

    @torch.no_grad()
    def __call__(self, source: Tensor) -> Tensor:
        """Sources (N, *source, of any height and width) in [-1, 1] to samples, on the CPU."""
        game, device = self.generator, self.generator.device
        net = game.nets["F" if self.back else "G"]
        source = source.to(device).contiguous(memory_format=torch.channels_last)
        deep = max((int(getattr(m, "factor", 1)) for m in net.modules()), default=1)
        made = tiled(net, source, self.tile, self.overlap, max(ALIGNED, deep))
        return made.float().cpu().clamp(-1, 1)

    def picture(self, x: Tensor, hole: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One picture (1, C, H, W) in [-1, 1], C being its own, as the network sees it
        (1, *source), and what it makes of it.

        Args:
            hole: (1, 1, H, W) bool, for a network that fills holes.

        Raises:
            UserError: the channels do not fit, or there is no mask.
        """
        damage, want = self.degradation, self.channels
        if x.shape[1] != want:
            if want == 3 and x.shape[1] == 1:
                x = x.expand(-1, 3, -1, -1)
            elif want == 1 and x.shape[1] == 3 and self.generator.spec.shape[0] == 1:
                x = x.transpose(0, 1)  # a grey network restores each colour by itself
                hole = None if hole is None else hole.expand(3, -1, -1, -1)
            elif want == 1:
                x = grey(x)
            else:
                raise UserError(
                    f"this generator takes pictures of {want} channels; this has {x.shape[1]}"
                )
        if self.damage and damage is not None:
            h, w = (s - s % damage.factor for s in x.shape[2:])
            with draws.keyed(0, "damage", torch.arange(len(x))):
                x = damage(x[:, :, :h, :w])
        elif damage is not None and damage.masks:
            if hole is None:
                raise UserError(
                    "this generator fills holes, and nothing says where they are; give a picture "
                    "with transparent places, or --mask FILE, bright where holes are"
                )
            x = with_holes(x, hole)
        return x, self(x)


# -- files ----------------------------------------------------------------------------------
def apply(
    applier: Applier,
    source: Path,
    out: Path,
    *,
    mask: Path | None = None,
    beside: bool = False,
    uint8: bool = False,
    layout: str | None = None,
    range: str | None = None,
    force: bool = False,
) -> tuple[int, Iterator[str]]:
    """Transform a picture, a folder of them (names are kept) or an array.

    Args:
        mask: a picture that is bright where holes are.
        beside: write what the network saw beside what it made.
        uint8: arrays as (N, H, W, C) bytes, not float32 (N, C, H, W).
        layout, range: of an array, where it does not say them itself; see `ganforge.data.open_source`.
        force: overwrite what is there.

    Returns:
        How many there are, and an iterator that does the work and says each name; in a folder
        what cannot be read, or does not fit the network, is named and skipped.

    Raises:
        UserError: nothing to read, or something would be overwritten.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist; give a picture, a folder or a .npy")
    if out.exists() and not (force or (out.is_dir() and not any(out.iterdir()))):
        raise UserError(f"{out} exists; choose another OUTPUT, or overwrite it with --force")
    if out.resolve() == source.resolve():
        raise UserError(f"{out} is the input itself; choose another OUTPUT")
    fills = applier.degradation is not None and applier.degradation.masks
    array = source.suffix.lower() in (".npy", ".npz") and not source.is_dir()
    for given, fits, said in (
        (mask is not None, fills and not applier.damage, "--mask goes with a run that fills holes, without --damage"),
        (beside, not array, "--beside goes with pictures; an array holds one size"),
        (uint8, array, "--uint8 goes with arrays; pictures are bytes anyhow"),
        (layout or range, array, "--layout and --range go with arrays"),
    ):  # fmt: skip
        if given and not fits:
            raise UserError(f"{said}; leave it away")
    if source.is_dir():
        names = [n for n in Folder(source).names if Path(n).suffix.lower() in EXTENSIONS]
        if not names:
            raise UserError(f"{source} has no pictures in it")
        targets = _targets(names, out)
        return len(names), _folder(applier, source, targets, mask, beside)
    if array:
        if out.suffix.lower() != ".npy":
            raise UserError(f"{out}: an array becomes an array; end the OUTPUT with .npy")
        data = open_source(f"{source}@all", layout=layout, range=range)
        return _array(applier, data, source, out, uint8, mask)
    if out.suffix.lower() not in WRITABLE:
        raise UserError(f"{out} has an ending that cannot be written; use .png")
    return 1, _one(applier, source, out, mask, beside)


def _targets(names: list[str], out: Path) -> dict[str, Path]:
    """Each input's output: the same name, as .png where its kind cannot be written."""
    found: dict[str, Path] = {}
    taken = {out / n for n in names if Path(n).suffix.lower() in WRITABLE}
    for name in names:
        path, n = out / name, 1
        if path.suffix.lower() not in WRITABLE:
            first = path = path.with_suffix(".png")
            while path in taken:
                more = Path(name).suffix[1:] if n == 1 else f"{Path(name).suffix[1:]}-{n}"
                path, n = first.with_name(f"{first.stem}-{more}.png"), n + 1
            taken.add(path)
        found[name] = path
    return found


def _folder(
    applier: Applier, source: Path, targets: dict[str, Path], mask: Path | None, beside: bool
) -> Iterator[str]:
    for name, path in targets.items():
        try:
            made = _made(applier, source / name, mask, beside)
        except (Broken, UserError) as e:
            yield f"skipped {name}: {e}"
            continue
        yield _written(made, path)


def transformed(
    applier: Applier, data: bytes, name: str, mask: Path | None = None
) -> tuple[Tensor, Tensor]:
    """A picture file's content as the network sees it and what it makes of it, each
    (1, C, H, W) in [-1, 1]. Transparency is kept, or where the network fills holes is one.

    Raises:
        Broken: it is no picture.
        UserError: it is a decompression bomb, or does not fit the network.
    """
    seen = look(data, name)
    kinds = (3 if seen.colour else 1) + seen.alpha
    levels = decode(data, name, seen.size, kinds, np.dtype(np.uint8)).pixels
    x = torch.tensor(levels).movedim(-1, 0)[None].float() / 127.5 - 1
    alpha = x[:, -1:] if seen.alpha else None
    x = x[:, :-1] if seen.alpha else x
    hole = None
    if mask is not None:
        hole = read_mask(mask, (x.shape[2], x.shape[3]))
    elif alpha is not None:
        hole = alpha < 0
    saw, made = applier.picture(x, hole)
    if len(made) > 1:  # each colour by itself
        saw, made = (t.transpose(0, 1).flatten(0, 1)[None] for t in (saw[:, :1], made))
    filled = applier.degradation is not None and applier.degradation.masks
    if alpha is not None and not filled:
        fit = F.interpolate(alpha, made.shape[2:], mode="bilinear")
        made = torch.cat([made, fit], 1)
        bands = made.shape[1] - 1
        saw = saw if saw.shape[1] == bands else saw[:, :1].expand(-1, bands, -1, -1)
        saw = torch.cat([saw, F.interpolate(alpha, saw.shape[2:], mode="bilinear")], 1)
    return saw, made


def _one(
    applier: Applier, source: Path, out: Path, mask: Path | None, beside: bool
) -> Iterator[str]:
    yield _written(_made(applier, source, mask, beside), out)


def _made(applier: Applier, source: Path, mask: Path | None, beside: bool) -> Tensor:
    try:
        data = source.read_bytes()
    except OSError as e:
        raise UserError(f"{source} cannot be read: {e.strerror or e}") from None
    saw, made = transformed(applier, data, source.name, mask)
    return torch.cat(list(side_by_side(saw, made, None)), -1)[None] if beside else made


def _written(made: Tensor, out: Path) -> str:
    kind = _FORMAT.get(out.suffix.lower(), "PNG")
    if kind in ("JPEG", "BMP") and made.shape[1] in (2, 4):  # no transparency there: over white
        cover = (made[:, -1:] + 1) / 2
        made = made[:, :-1] * cover + (1 - cover)
    aside = aside_of(out)
    try:
        image(made).save(aside, kind, **_options(out))
        os.replace(aside, out)
    except OSError as e:
        raise unwritable(out, e) from None
    finally:
        aside.unlink(missing_ok=True)
    return str(out)


_FORMAT = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF",
           ".tiff": "TIFF"}  # fmt: skip


def _options(out: Path) -> dict[str, int | bool]:
    if out.suffix.lower() in (".jpg", ".jpeg"):
        return {"quality": 95}
    return {"lossless": True} if out.suffix.lower() == ".webp" else {}


def image(x: Tensor) -> Image.Image:
    """(1, C, H, W) in [-1, 1] as a picture."""
    levels = to_bytes(x)[0]
    return Image.fromarray(np.ascontiguousarray(levels[..., 0] if levels.shape[2] == 1 else levels))


def _array(
    applier: Applier, data: Dataset, source: Path, out: Path, uint8: bool, mask: Path | None
) -> tuple[int, Iterator[str]]:
    if len(data.shape) != 3:
        raise UserError(f"{source} holds samples of {tuple(data.shape)}, no pictures")
    hole = None if mask is None else read_mask(mask, (data.shape[1], data.shape[2]))

    def work() -> Iterator[str]:
        from numpy.lib.format import open_memmap

        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        whole: np.memmap | None = None
        try:
            for i in range(len(data)):
                _, made = applier.picture(data.real(np.array([i])), hole)
                if len(made) > 1:
                    made = made.transpose(0, 1)
                part = as_bytes(made.clone()) if uint8 else made.numpy()
                if whole is None:
                    whole = open_memmap(aside, "w+", part.dtype, (len(data), *part.shape[1:]))
                whole[i] = part[0]
                yield f"{out}[{i}]"
            assert whole is not None
            whole.flush()
            os.replace(aside, out)
        finally:
            aside.unlink(missing_ok=True)

    return len(data), work()
