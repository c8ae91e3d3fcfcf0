"""Damage to pictures, seeded and composable: what restoration learns to undo.

    noise:25+mask:center       first noise, then a hole
    down:2:bicubic             half of each side

| degradation             | what it does                                                      |
|-------------------------|-------------------------------------------------------------------|
| noise:SIGMA             | Gaussian; SIGMA in levels of 255, or a share of the range up to 1 |
| poisson:PEAK            | shot noise, PEAK photons at white                                 |
| jpeg:QUALITY            | saved as JPEG, 1 to 100                                           |
| blur:SIGMA              | Gaussian, in pixels                                               |
| pixelate:N              | blocks of N x N become their mean, 2 to 16                        |
| grey                    | colour is lost (Rec. 601 luma)                                    |
| mask:KIND[:SHARE]       | holes: center (a quarter of the picture), boxes, strokes, or a    |
|                         | picture file whose bright places are holes                        |
| down:FACTOR[:KERNEL]    | 2, 3 or 4 times smaller: bicubic, bilinear, area or nearest       |

Random numbers come from `ganforge.draws`, so a sample is damaged alike on any process. All
but masks keep to [-1, 1], as a file would. A mask adds a channel, 1 in holes and -1 elsewhere;
holes are 0.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge import draws
from ganforge.errors import UserError

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601: what a grey picture keeps of red, green and blue."""

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Degradation:
    """A chain of damages, from its text.

    Attributes:
        text: as `--set degrade=` takes it.
        masks: its result has one more channel, a mask of holes.
        fills: holes are all that it does: what is around them is true.
        factor: how many times smaller each side of its result is.
        pixel: the side of the blocks that it makes, 1 for none.
        grey: its result has one channel.
    """

    text: str
    steps: tuple[Step, ...]
    masks: bool = False
    factor: int = 1
    pixel: int = 1
    grey: bool = False

    def content(self) -> dict[str, str]:
        """The digest of the mask's file, if it is one: what its name does not say.

        Raises:
            UserError: it cannot be read.
        """
        kinds = [p.split(":")[1:2] for p in self.text.split("+") if p.strip().startswith("mask:")]
        files = [Path(k) for k, *_ in kinds if k not in _HOLES]
        if not files:
            return {}
        try:
            content = files[0].read_bytes()
        except OSError:
            raise UserError(
                f"degrade={self.text}: holes are {', '.join(_HOLES)}, or a picture file; "
                f"{str(files[0])!r} is none that can be read"
            ) from None
        return {"mask": hashlib.blake2b(content, digest_size=16).hexdigest()}

    @property
    def fills(self) -> bool:
        return self.masks and len(self.steps) == 1

    def shape(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a damaged sample of shape (C, H, W).

        Raises:
            UserError: samples of this shape cannot be damaged like this.
        """
        if len(of) != 3:
            raise UserError(f"degrade={self.text} damages pictures, but the data are {of}")
        c, h, w = of
        if h % self.factor or w % self.factor:
            side = f"{h - h % self.factor}x{w - w % self.factor}"
            raise UserError(
                f"degrade={self.text} needs sides that {self.factor} divides, but the data are "
                f"{h}x{w}; use --size {side}"
            )
        if self.grey and c != 3:
            raise UserError(
                f"degrade={self.text} takes the colour away, but the data have {c} channels; use "
                "colour pictures, or --channels 3"
            )
        return ((1 if self.grey else c) + self.masks, h // self.factor, w // self.factor)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1], damaged: (N, *shape)."""
        for step in self.steps:
            x = step(x)
        return x.contiguous(memory_format=torch.channels_last)


@functools.cache
def degradation(text: str) -> Degradation:
    """A degradation by its text; see the module.

    Raises:
        UserError: an unknown damage, or a value that does not fit.
    """
    steps: list[Step] = []
    facts = {"masks": False, "factor": 1, "pixel": 1, "grey": False}
    for part in text.split("+"):
        name, *values = part.strip().split(":")
        if name not in KINDS:
            import difflib

            near = difflib.get_close_matches(name, KINDS, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(
                f"degradation {name!r} is unknown; {hint}choose from {', '.join(KINDS)}, joined by +"
            )
        if facts["masks"] or (facts["factor"] > 1 and name == "down"):
            raise UserError(
                f"degrade={text}: nothing may follow a mask, and a picture is made smaller once"
            )
        try:
            steps.append(KINDS[name](part, *values))
        except TypeError:
            raise UserError(
                f"degrade={part} has too many values; see docs/restoration.md"
            ) from None
        facts["masks"] |= name == "mask"
        facts["grey"] |= name == "grey"
        if name in _SIZES:
            fact, default = _SIZES[name]
            facts[fact] = int(float(values[0] if values else default))
    return Degradation(text, tuple(steps), **facts)  # type: ignore[arg-type]


# -- noise, blur, compression ---------------------------------------------------------------
def _noise(part: str, sigma: str = "25") -> Step:
    level = _number(part, sigma, 0, 255, "a standard deviation such as 25 (of 255) or 0.1")
    scale = 2 * (level if level <= 1 else level / 255)
    return lambda x: (x + scale * draws.normal(*x.shape, device=x.device)).clamp_(-1, 1)


def _poisson(part: str, peak: str = "30") -> Step:
    photons = _number(part, peak, 1, 1e6, "the photons at white, such as 30")

    def step(x: Tensor) -> Tensor:
        # Anscombe's transform makes counts nearly normal with deviation 1/2 at its root.
        root = ((x + 1) / 2 * photons + 0.375).sqrt()
        root = root + draws.normal(*x.shape, device=x.device) / 2
        return (((root.clamp(min=0).square() - 0.375) / photons) * 2 - 1).clamp_(-1, 1)

    return step


def _jpeg(part: str, quality: str = "20") -> Step:
    q = int(_number(part, quality, 1, 100, "a quality from 1 to 100"))

    def step(x: Tensor) -> Tensor:
        import io

        import numpy as np
        from PIL import Image

        if x.shape[1] not in (1, 3):
            raise UserError(f"degrade={part} takes 1 or 3 channels; these have {x.shape[1]}")
        levels = x.detach().cpu().add(1).mul(127.5).round().to(torch.uint8).movedim(1, -1)
        done = []
        for picture in levels.squeeze(-1).numpy():
            file = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=q)
            done.append(np.asarray(Image.open(file)))
        stored = torch.from_numpy(np.stack(done).reshape(levels.shape)).movedim(-1, 1)
        return stored.to(x.device, torch.float32) / 127.5 - 1

    return step


def _blur(part: str, sigma: str = "1.5") -> Step:
    s = _number(part, sigma, 0.1, 50, "a radius in pixels such as 1.5")
    reach = math.ceil(3 * s)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / s) ** 2)
    line /= line.sum()

    def step(x: Tensor) -> Tensor:
        c, k = x.shape[1], line.to(x.device)
        for axis in (2, 3):
            kernel = k.view(1, 1, -1, 1) if axis == 2 else k.view(1, 1, 1, -1)
            pads = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
            x = F.conv2d(F.pad(x, pads, mode="replicate"), kernel.repeat(c, 1, 1, 1), groups=c)
        return x

    return step


# -- resolution and colour ------------------------------------------------------------------
_SIZES = {"pixelate": ("pixel", "4"), "down": ("factor", "2")}
"""By name what it changes of the sizes, and by how much where nothing is said."""


def _pixelate(part: str, side: str = _SIZES["pixelate"][1]) -> Step:
    n = int(_number(part, side, 2, 16, "the blocks' side, 2 to 16", whole=True))

    def step(x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        padded = F.pad(x, (0, -w % n, 0, -h % n), mode="replicate")
        blocks = F.avg_pool2d(padded, n)
        return blocks.repeat_interleave(n, 2).repeat_interleave(n, 3)[:, :, :h, :w]

    return step


def grey(x: Tensor) -> Tensor:
    """(N, 3, H, W) to its luma, (N, 1, H, W)."""
    weight = torch.tensor(LUMA, device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
    return (x * weight).sum(1, keepdim=True)


def _grey(part: str) -> Step:
    return grey


_KERNELS = ("bicubic", "bilinear", "area", "nearest")


def _down(part: str, factor: str = _SIZES["down"][1], kernel: str = "bicubic") -> Step:
    n = int(_number(part, factor, 2, 4, "2, 3 or 4", whole=True))
    if kernel not in _KERNELS:
        raise UserError(f"degrade={part}: the kernel is one of {', '.join(_KERNELS)}")

    def step(x: Tensor) -> Tensor:
        size = [s // n for s in x.shape[2:]]
        smooth = kernel in ("bicubic", "bilinear")
        return F.interpolate(x, size, mode=kernel, antialias=smooth).clamp_(-1, 1)

    return step


# -- holes ----------------------------------------------------------------------------------
def _mask(part: str, kind: str = "center", share: str | None = None) -> Step:
    if share is not None and kind not in _HOLES:
        raise UserError(
            f"degrade={part}: a share goes with {', '.join(_HOLES)}; a file has its own"
        )
    area = _number(part, share or "0.25", 0.001, 0.9, "the share of the picture, such as 0.25")
    # A file is missed when it is read: a trained network does not need it.
    from_file = functools.partial(_from_file, path=Path(kind))
    draw = functools.partial(_HOLES[kind], area=area) if kind in _HOLES else from_file
    return lambda x: with_holes(x, draw(x))


def with_holes(x: Tensor, hole: Tensor) -> Tensor:
    """x (N, C, H, W) with zeros where `hole` (N, 1, H, W) bool, and the mask as a channel."""
    return torch.cat([x.masked_fill(hole, 0.0), hole.to(x.dtype) * 2 - 1], 1)


def _center(x: Tensor, area: float) -> Tensor:
    """One box in the middle."""
    hole = torch.zeros(len(x), 1, *x.shape[2:], dtype=torch.bool, device=x.device)
    (top, h), (left, w) = (_middle(side, area**0.5) for side in x.shape[2:])
    hole[:, :, top : top + h, left : left + w] = True
    return hole


def _middle(side: int, share: float) -> tuple[int, int]:
    length = max(1, round(side * share))
    return (side - length) // 2, length


def _boxes(x: Tensor, area: float, count: int = 3) -> Tensor:
    """Three boxes anywhere, each of a third of the area and any shape from 1:2 to 2:1."""
    n, (h, w) = len(x), x.shape[2:]
    u = draws.uniform(n, count, 3, device=x.device)
    form = 2.0 ** (2 * u[..., 0] - 1)
    high = (h * (area / count * form).sqrt()).clamp(1, h)
    wide = (w * (area / count / form).sqrt()).clamp(1, w)
    top, left = u[..., 1] * (h - high), u[..., 2] * (w - wide)
    row = torch.arange(h, device=x.device).view(1, 1, h, 1)
    column = torch.arange(w, device=x.device).view(1, 1, 1, w)

    def per_box(v: Tensor) -> Tensor:
        return v.round()[..., None, None]

    inside = (row >= per_box(top)) & (row < per_box(top) + per_box(high))
    inside = inside & (column >= per_box(left)) & (column < per_box(left) + per_box(wide))
    return inside.any(1, keepdim=True)


def _strokes(x: Tensor, area: float, count: int = 4, joints: int = 3) -> Tensor:
    """Four bent strokes, as a brush would leave them, of about that area in all."""
    n, (h, w) = len(x), x.shape[2:]
    u = draws.uniform(n, count, joints + 1, 2, device=x.device)
    ends = u * torch.tensor([h - 1, w - 1], device=x.device)
    a, b = ends[:, :, :-1].flatten(1, 2), ends[:, :, 1:].flatten(1, 2)  # (N, segments, 2)
    length = (b - a).norm(dim=-1).sum(1).clamp(min=1)
    radius = (area * h * w / length / 2).clamp(0.7, min(h, w) / 8)
    row = torch.arange(h, device=x.device, dtype=torch.float32)
    column = torch.arange(w, device=x.device, dtype=torch.float32)
    place = torch.stack(torch.meshgrid(row, column, indexing="ij"), -1).view(1, -1, 2)
    near = torch.full((n, h * w), math.inf, device=x.device)
    for i in range(a.shape[1]):
        start, along = a[:, i, None], (b - a)[:, i, None]
        t = ((place - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
        gap = (place - start - t.clamp(0, 1)[..., None] * along).norm(dim=-1)
        near = torch.minimum(near, gap)
    return (near <= radius[:, None]).view(n, 1, h, w)


_HOLES: dict[str, Callable[..., Tensor]] = {
    "center": _center,
    "boxes": _boxes,
    "strokes": _strokes,
}


def _from_file(x: Tensor, path: Path) -> Tensor:
    """The bright places of a picture, brought to the samples' size."""
    return read_mask(path, (x.shape[2], x.shape[3])).to(x.device).expand(len(x), -1, -1, -1)


@functools.lru_cache(maxsize=64)
def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """(1, 1, H, W) bool: the bright places of a picture file.

    Raises:
        UserError: it cannot be read.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as im:
            levels = np.asarray(im.convert("L").resize((size[1], size[0]), Image.Resampling.BOX))
    except OSError as e:
        raise UserError(f"the mask {path} cannot be read ({e}); give a picture file") from None
    return torch.from_numpy(levels > 127)[None, None]


KINDS: dict[str, Callable[..., Step]] = {
    "noise": _noise,
    "poisson": _poisson,
    "jpeg": _jpeg,
    "blur": _blur,
    "pixelate": _pixelate,
    "grey": _grey,
    "mask": _mask,
    "down": _down,
}
"""Name to what makes a step from (the part's text, its values)."""


def _number(part: str, text: str, low: float, high: float, what: str, whole: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or (whole and value != int(value)):
        raise UserError(f"degrade={part} does not fit; give {what}")
    return value
