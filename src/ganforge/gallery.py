"""Samples as a picture, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganforge import draws
from ganforge.objectives.objective import Objective
from ganforge.spec import Ask, Spec


def exhibit(objective: Objective, spec: Spec, seed: int, device: torch.device) -> tuple[Ask, int]:
    """The fixed request whose answer is shown through a training, and its columns: 64
    latents; where there are classes, 8 of each of the first 10, a class a row."""
    if objective.latent is None or spec.source is not None:
        return Ask(), 8
    rows = min(spec.classes, 10) or 8
    n = 1024 if len(spec.shape) == 1 else 8 * rows
    index = torch.arange(n)
    with draws.keyed(seed, "exhibit", index):
        z = objective.latent.draw(n)
    label = (index // 8) % spec.classes if spec.classes else None
    return Ask(z.to(device), None if label is None else label.to(device)), 8


def beside(source: Tensor, made: Tensor, real: Tensor | None, columns: int = 8) -> Tensor:
    """Sources (N, ...) over what was made of them over the reals that belong to them, in
    rows of `columns`; sources are enlarged and brought to as many channels."""
    rows = [_like(source, made), made] + ([] if real is None else [_like(real, made)])
    cut = len(made) - len(made) % columns or len(made)
    return torch.stack([r[:cut].unflatten(0, (-1, min(columns, cut))) for r in rows], 1).flatten(
        0, 2
    )


def _like(x: Tensor, made: Tensor) -> Tensor:
    """x at the size and with the channels of `made`; a mask's channel is left out."""
    channels = made.shape[1]
    if x.shape[1] > channels:
        x = x[:, :channels]
    if x.shape[1] < channels:
        x = x[:, :1].expand(-1, channels, *x.shape[2:])
    if x.dim() == 4 and x.shape[2:] != made.shape[2:]:
        x = torch.nn.functional.interpolate(x, made.shape[2:], mode="nearest")
    return x


def stills(x: Tensor, side: int = 256) -> list[Image.Image]:
    """Each sample (N, *shape) as a picture of its own, or where there are several (N, K,
    *shape) in a row; small ones are enlarged by a whole factor to at most `side` pixels, or
    those in a row to half as many each."""
    if x.dim() == 5:
        from ganforge.data.pictures import grid

        side = side * x.shape[1] // 2
        shown = [grid(several, len(several), scale=1, gap=1) for several in x]
    else:  # vectors are points, and shown together
        shown = [picture(x)] if x.dim() == 2 else [single(sample) for sample in x]
    factor = max(1, side // max(shown[0].size))
    size = (shown[0].width * factor, shown[0].height * factor)
    return [i.convert("RGB").resize(size, Image.Resampling.NEAREST) for i in shown]


def single(x: Tensor) -> Image.Image:
    """One sample (*shape) as it is, without a frame."""
    if x.dim() != 3:
        return picture(x[None], 1)
    from ganforge.data.pictures import picture as plain
    from ganforge.data.pictures import to_bytes

    return plain(to_bytes(x[None])[0])


def picture(x: Tensor, columns: int = 8, real: Tensor | None = None) -> Image.Image:
    """(N, C, H, W), (N, C, T) or (N, C) samples, in [-1, 1] but for vectors, as one picture:
    a grid, spectrograms, or a scatter plot over the real ones."""
    x = x.detach().float().cpu()
    if x.dim() == 4:
        from ganforge.data.pictures import grid

        return grid(x, columns)
    return _scatter(x, real) if x.dim() == 2 else tiled([spectrogram(w) for w in x], columns)


@dataclass(frozen=True)
class Block:
    """A part of a sheet: samples in rows and columns, with words beside them.

    Attributes:
        x: (rows * columns, *shape), row after row.
        rows, columns: what stands beside each row and over each column.
        title: over the block.
        captions: under each sample, or nothing.
    """

    x: Tensor
    rows: Sequence[str]
    columns: Sequence[str]
    title: str = ""
    captions: Sequence[str] = ()


def sheet(blocks: Sequence[Block], text: int = 14, gap: int = 3) -> Image.Image:
    """Blocks of labelled samples, one above the other, black on white. Small samples are
    enlarged by a whole factor to about 64 pixels, large ones shrunk to 160."""
    font = ImageFont.load_default(text)
    small = ImageFont.load_default(text - 3)
    cells = [[single(sample).convert("RGB") for sample in b.x] for b in blocks]
    width, height = cells[0][0].size
    scale = max(1, round(64 / height)) if height <= 160 else 160 / height
    width, height = round(width * scale), round(height * scale)
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    words = [t for b in blocks for t in b.rows]
    margin = 2 * gap + max((math.ceil(font.getlength(t)) for t in words), default=0) + text // 2
    widest = [max([width, *(math.ceil(font.getlength(t)) + 4 for t in b.columns)]) for b in blocks]
    line = text + 6

    def tall(b: Block) -> int:
        below = line - 2 if b.captions else 0
        return (line if b.title else 0) + (line if b.columns else 0) + len(b.rows) * (height + below + gap)  # fmt: skip

    titles = [math.ceil(font.getlength(b.title)) + margin for b in blocks]
    across = [margin + len(b.columns) * (w + gap) for b, w in zip(blocks, widest, strict=True)]
    size = (max(across + titles) + gap, sum(map(tall, blocks)) + text * len(blocks))
    im = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(im)
    y = text // 2
    for b, shown, step in zip(blocks, cells, widest, strict=True):
        if b.title:
            draw.text((margin, y), b.title, "black", font)
            y += line
        middle = [margin + i * (step + gap) + step / 2 for i in range(len(b.columns))]
        for at, t in zip(middle, b.columns, strict=True):
            draw.text((at, y), t, "#444444", font, anchor="ma")
        y += line if b.columns else 0
        for r, name in enumerate(b.rows):
            place = (margin - text // 2, y + height / 2)
            draw.text(place, name, "black", font, anchor="rm")
            for c, at in enumerate(middle):
                i = r * len(b.columns) + c
                cell = shown[i].resize((width, height), how)
                im.paste(cell, (round(at - width / 2), y))
                if b.captions:
                    draw.text((at, y + height + 2), b.captions[i], "#444444", small, anchor="ma")
            y += height + gap + (line - 2 if b.captions else 0)
        y += text
    return im


def legible(names: Sequence[str]) -> list[str]:
    """Names that the sheet's font can write, and "class NUMBER" for others."""
    font = ImageFont.load_default(14)

    def drawn(letter: str) -> bytes:
        im = Image.new("L", (20, 20))
        ImageDraw.Draw(im).text((2, 2), letter, "white", font)
        return im.tobytes()

    missing = drawn("\uffff")

    def known(name: str) -> bool:
        return all(drawn(letter) != missing for letter in name)

    return [name if known(name) else f"class {i}" for i, name in enumerate(names)]


def _scatter(x: Tensor, real: Tensor | None, size: int = 512) -> Image.Image:
    """The first two coordinates: real samples grey, generated ones blue."""
    im = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(im)
    base = x if real is None else real
    if x.shape[1] == 1:  # one dimension: a histogram each
        low, high = base.min().item(), base.max().item()
        pad = 0.25 * (high - low or 1)
        for data, colour, fill in ((real, "#999999", True), (x, "#1f6feb", False)):
            if data is None:
                continue
            h = torch.histc(data[:, 0], 64, low - pad, high + pad)
            h = h / h.max().clamp_min(1) * (size - 40)
            step = size / 64
            points = [(i * step, size - 20 - v) for i, v in enumerate(h.tolist())]
            if fill:
                draw.polygon([(0, size - 20), *points, (size, size - 20)], fill=colour)
            else:
                draw.line(points, fill=colour, width=3)
        return im
    centre, reach = base[:, :2].mean(0), base[:, :2].std(0).max().item() * 2.6 or 1.0
    for data, colour in ((real, "#b0b0b0"), (x, "#1f6feb")):
        if data is None:
            continue
        at = ((data[:, :2] - centre) / reach + 1) * size / 2
        for a, b in at.tolist():
            if math.isfinite(a) and math.isfinite(b):
                draw.ellipse([a - 2, size - b - 2, a + 2, size - b + 2], fill=colour)
    return im


def tiled(cells: Sequence[Image.Image], columns: int, gap: int = 4) -> Image.Image:
    """Pictures of one size in rows of `columns`, on white."""
    width, height = cells[0].size
    rows = math.ceil(len(cells) / columns)
    size = (columns * (width + gap) + gap, rows * (height + gap) + gap)
    im = Image.new("RGB", size, "white")
    for i, cell in enumerate(cells):
        im.paste(cell, (gap + i % columns * (width + gap), gap + i // columns * (height + gap)))
    return im


def spectrogram(
    wave: Tensor, width: int = 128, height: int = 96, decibels: float = 80
) -> Image.Image:
    """A sound (C, T) as a picture: time to the right, low frequencies below, loud is bright,
    from full scale down by `decibels`; channels one above the other."""
    t = wave.shape[-1]
    window = max(16, 2 ** round(math.log2(max(16, min(512, t / 16)))))
    shape = torch.hann_window(window, device=wave.device)
    hop = max(1, t // width)
    found = torch.stft(
        torch.nn.functional.pad(wave, (window // 2, window // 2)), window, hop,
        window=shape, center=False, return_complex=True,
    )  # fmt: skip
    level = 20 * (found.abs() / (window / 4)).clamp(min=1e-7).log10()
    return heat(level, width, height, decibels)


def heat(level: Tensor, width: int = 128, height: int = 96, decibels: float = 80) -> Image.Image:
    """Levels (C, frequencies, T) in decibels of full scale, low frequencies first, as
    `spectrogram` shows them."""
    share = (1 + level.float() / decibels).clamp(0, 1).flip(1)[None]
    size = (height // len(level), width)
    share = torch.nn.functional.interpolate(share, size, mode="bilinear", antialias=True)[0]
    share = share.flatten(0, 1).clamp(0, 1) * (len(_HEAT) - 1)
    low = share.floor().long().clamp(max=len(_HEAT) - 2)
    heat = torch.tensor(_HEAT, dtype=torch.float32)
    colour = torch.lerp(heat[low], heat[low + 1], (share - low)[..., None])
    return Image.fromarray(colour.round().byte().numpy())


_HEAT = [(4, 4, 22), (46, 16, 92), (114, 31, 129), (183, 55, 121), (241, 96, 93),
         (254, 175, 119), (252, 253, 191)]  # fmt: skip
"""Dark to bright in even steps of lightness."""
