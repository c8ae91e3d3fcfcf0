"""A walk through a generator's latent space.

The pad is a piece of the sphere on which latents live. Its centre is one draw g0, and the
point (u, v), at the distance r from the centre, is

    g = cos(r) g0 + sin(r) (u g1 + v g2) / r

with three independent normal draws: every point of the pad is itself a normal draw, so
wherever one walks the pictures stay typical. Other kinds of noise are reached through
their quantiles.

torch and the rest of ganforge are imported when the first generator is opened: the pages
that watch runs never pay for them.
"""

from __future__ import annotations

import base64
import io
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from ganforge.studio.compute import compute
from ganforge.studio.library import Library
from ganforge.studio.problems import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.data import Dataset
    from ganforge.generator import Generator

MOST_OPEN = 3
MOST_FRAMES = 240
MOST_PIXELS = 1 << 24
DIRECTIONS = 6
WATCHABLE = 256
"""Films of smaller pictures are enlarged to this many pixels."""


class Point(BaseModel):
    """Where one stands: a place on the pad, and what the sliders say.

    Attributes:
        seed: which pad.
        u, v: the place on it, in radians.
        label: the class, where there are classes.
        code: the values of the codes, in order; None leaves one to chance.
        push: how far to go along each semantic direction.
        truncation: in (0, 1]; lower is more typical and less varied.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    seed: int = Field(0, ge=0, le=2**31)
    u: float = Field(0.0, ge=-math.pi, le=math.pi)
    v: float = Field(0.0, ge=-math.pi, le=math.pi)
    label: int | None = Field(None, ge=0)
    code: list[float | None] = Field([], max_length=64)
    push: list[float] = Field([], max_length=DIRECTIONS)
    truncation: float = Field(1.0, gt=0, le=1)


class Wanted(BaseModel):
    """What to make.

    Attributes:
        step: of the checkpoint that the page has opened.
        points: where.
        between: with more than one point, so many pictures from each to the next.
        form: one PNG of all pictures, an animation, or the latents.
        columns: of the PNG.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    step: int = Field(ge=0)
    points: list[Point] = Field(min_length=1, max_length=128)
    between: int = Field(0, ge=0, le=60)
    form: Literal["png", "webp", "gif", "npy"] = "png"
    columns: int = Field(8, ge=1, le=64)


@dataclass
class Places:
    """Resolved points.

    Attributes:
        noise: (N, size) standard normal coordinates.
        codes: (N, width - size).
        label: (N,) int64, or None.
        truncation: (N,).
    """

    noise: Tensor
    codes: Tensor
    label: Tensor | None
    truncation: Tensor


@dataclass
class Opened:
    """A generator in memory, with what was found out about it."""

    generator: Generator
    directions: dict[int | None, tuple[Tensor, list[float]]] = field(default_factory=dict)
    index: Neighbours | None = None


class Explorer:
    """The opened generators; those used least recently are let go."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._opened: OrderedDict[tuple[str, int], Opened] = OrderedDict()

    def open(self, key: str, checkpoint: str | int = "latest") -> dict[str, Any]:
        """Load a checkpoint, and say what can be chosen.

        Raises:
            Problem: the run has no checkpoint.
            UserError: the checkpoint cannot be used.
        """
        entry = self.library.entry(key)
        steps = [step for step, _ in entry.run.checkpoints()]
        if not steps:
            raise Problem(
                409, "Nothing to explore yet", "the run has saved no checkpoint; it will soon"
            )
        if checkpoint == "latest":
            step = steps[-1]
        elif checkpoint == "best":
            step = (entry.run.best or {}).get("step", steps[-1])
        else:
            step = int(checkpoint)
        g = compute(lambda: self._get(key, step)).generator
        latent = g.latent
        return {
            "step": step,
            "checkpoints": steps,
            "best": (entry.run.best or {}).get("step"),
            "shape": list(g.spec.shape),
            "source": g.spec.source and list(g.spec.source),
            "classes": class_names(g),
            "latent": latent
            and {
                "size": latent.size,
                "kind": latent.kind,
                "categorical": list(latent.categorical),
                "continuous": latent.continuous,
            },
        }

    def _get(self, key: str, step: int) -> Opened:
        """In the computing thread alone."""
        name = (key, step)
        if name not in self._opened:
            from ganforge.api import load

            run = self.library.entry(key).run
            self._opened[name] = Opened(load(run.path, step, device="cpu"))
        self._opened.move_to_end(name)
        while len(self._opened) > MOST_OPEN:
            self._opened.popitem(last=False)
        return self._opened[name]

    # -- making -------------------------------------------------------------------------
    def make(self, key: str, wanted: Wanted) -> tuple[bytes, str]:
        """(content, media type)."""
        return compute(lambda: self._make(self._get(key, wanted.step), wanted))

    def _make(self, opened: Opened, wanted: Wanted) -> tuple[bytes, str]:
        frames = len(wanted.points)
        between = wanted.between if frames > 1 else 0
        check_size(opened.generator, (frames - 1) * between + 1 if between else frames)
        places = resolve(opened, wanted.points)
        if between:
            places = path(places, between)
        z = latents(opened.generator, places)
        if wanted.form == "npy":
            return npy(z.numpy()), "application/octet-stream"
        x = render(opened.generator, z, places.label)
        if wanted.form == "png":
            return sheet(x, wanted.columns), "image/png"
        return film(x, wanted.form), f"image/{wanted.form}"

    def directions(self, key: str, step: int, label: int | None) -> dict[str, Any]:
        """The directions along which the pictures change most, as the share of the change
        that each makes."""

        def work() -> dict[str, Any]:
            opened = self._get(key, step)
            resolve(
                opened, [Point.model_validate({"label": label})]
            )  # refuses what has no such class
            return {"shares": find_directions(opened, label)[1]}

        return compute(work)

    def neighbours(self, key: str, step: int, point: Point, count: int = 8) -> dict[str, Any]:
        """The training samples that look most like the sample at a point."""

        def work() -> dict[str, Any]:
            opened = self._get(key, step)
            places = resolve(opened, [point])
            x = render(opened.generator, latents(opened.generator, places), places.label)
            if opened.index is None:
                opened.index = Neighbours(open_data(opened.generator.config))
            return opened.index.nearest(x[0], count)

        return compute(work)


def class_names(g: Generator) -> list[str]:
    names = list(g.classes)
    return [names[i] if i < len(names) else str(i) for i in range(g.spec.classes)]


def check_size(g: Generator, frames: int) -> None:
    if frames > MOST_FRAMES or frames * math.prod(g.spec.shape) > 4 * MOST_PIXELS:
        raise Problem(422, "Too much at once", f"at most {MOST_FRAMES} pictures are made at once")


def resolve(opened: Opened, points: list[Point]) -> Places:
    """The points as latent coordinates.

    Raises:
        Problem: the generator starts from pictures, or has no such class.
        UserError: it has no such code.
    """
    import torch

    from ganforge import draws

    g = opened.generator
    latent = g.latent
    if latent is None:
        raise Problem(422, "No latent space", "this generator transforms pictures; drop one on it")
    noises, codes, labels = [], [], []
    for p in points:
        with draws.keyed(p.seed, "explore", torch.arange(3)):
            base = draws.normal(3, latent.size)
            codes_drawn = latent.draw(3)[:1]
        r = math.hypot(p.u, p.v)
        toward = (p.u * base[1] + p.v * base[2]) / (r or 1.0)
        noise = math.cos(r) * base[0] + math.sin(r) * toward
        if any(p.push):
            along, _ = find_directions(opened, p.label)
            moved = noise + torch.tensor(p.push) @ along[: len(p.push)]
            noise = moved * (noise.norm() / moved.norm().clamp_min(1e-9))
        for i, value in enumerate(p.code):
            if value is not None:
                codes_drawn = latent.set_code(codes_drawn, i, value)
        noises.append(noise)
        codes.append(codes_drawn[0, latent.size :])
        labels.append(check_label(g, p))
    label = torch.tensor(labels) if g.spec.classes else None
    truncation = torch.tensor([p.truncation for p in points])
    return Places(torch.stack(noises), torch.stack(codes), label, truncation)


def check_label(g: Generator, p: Point) -> int:
    classes = g.spec.classes
    if p.label is not None and p.label >= max(classes, 1):
        raise Problem(422, "No such class", f"this generator has {classes} classes")
    if p.label is None:
        return p.seed % classes if classes else 0
    return p.label


def path(places: Places, between: int) -> Places:
    """From each place to the next along the sphere, `between` steps each; classes and
    categories change half-way."""
    import torch

    from ganforge.generator import slerp

    n = len(places.noise)
    t = torch.linspace(0, 1, between + 1)[:-1].repeat(n - 1)
    first = torch.arange(n - 1).repeat_interleave(between)
    second = first + 1
    t, first = torch.cat([t, torch.ones(1)]), torch.cat([first, torch.tensor([n - 2])])
    second = torch.cat([second, torch.tensor([n - 1])])
    near = torch.where(t < 0.5, first, second)

    def mix(v: Tensor) -> Tensor:
        w = t.view(-1, *[1] * (v.dim() - 1))
        return v[first] * (1 - w) + v[second] * w

    a, b = places.noise[first], places.noise[second]
    noise = slerp(a, b, t[:, None]) if a.shape[1] else a
    same = (a - b).norm(dim=1, keepdim=True) < 1e-6 if a.shape[1] else None
    if same is not None:
        noise = torch.where(same, a, noise)
    codes = mix(places.codes)
    whole = (places.codes == places.codes.round()).all(0)
    codes[:, whole] = places.codes[near][:, whole]
    label = None if places.label is None else places.label[near]
    return Places(noise, codes, label, mix(places.truncation))


def latents(g: Generator, places: Places) -> Tensor:
    """(N, width) float32."""
    import torch

    assert g.latent is not None
    rows = []
    for noise, t in zip(places.noise, places.truncation.tolist(), strict=True):
        if g.latent.kind != "normal" or t < 1:
            noise = g.latent.noise(torch.special.ndtr(noise[None]), t)[0]
        rows.append(noise)
    return torch.cat([torch.stack(rows), places.codes], 1)


def render(g: Generator, z: Tensor, label: Tensor | None, batch: int = 64) -> Tensor:
    """(N, *shape)."""
    import torch

    from ganforge.spec import Ask

    parts = []
    for i in range(0, len(z), batch):
        part = slice(i, i + batch)
        parts.append(g.make(Ask(z[part], None if label is None else label[part])))
    return torch.cat(parts)


def find_directions(opened: Opened, label: int | None, samples: int = 512):
    """(directions (K, size), shares (K,)): where to go in latent space for the pictures to
    change as their principal components do. The components are those of small copies of
    the pictures, and for normal noise the least-squares direction of a component is the
    mean of noise times score (after GANSpace, Harkonen et al. 2020, arXiv 2004.02546, which
    does the same with features of an early layer). It asks nothing of the network."""
    import torch

    from ganforge import draws

    if label not in opened.directions:
        g = opened.generator
        assert g.latent is not None
        with draws.keyed(0, "directions", torch.arange(samples)):
            noise = draws.normal(samples, g.latent.size)
            codes = g.latent.draw(samples)[:, g.latent.size :]
        y = None
        if g.spec.classes:
            y = torch.arange(samples) % g.spec.classes
            y = y if label is None else torch.full((samples,), label)
        places = Places(noise, codes, y, torch.ones(samples))
        small = pooled(render(g, latents(g, places), y))
        small = small - small.mean(0)
        count = min(DIRECTIONS, *small.shape, g.latent.size)
        u, s, _ = torch.linalg.svd(small, full_matrices=False)
        along = (u[:, :count] * samples**0.5).T @ noise / samples
        shares = (s[:count].square() / s.square().sum().clamp_min(1e-12)).tolist()
        opened.directions[label] = (torch.nn.functional.normalize(along, dim=1), shares)
    return opened.directions[label]


def pooled(x: Tensor, most: int = 768) -> Tensor:
    """(N, at most about `most`) small copies of samples of any shape, flattened."""
    from torch.nn import functional as F

    if x.dim() == 2:
        return x
    channels, space = x.shape[1], x.shape[2:]
    side = max(1, math.floor((most / channels) ** (1 / len(space))))
    if len(space) == 2:
        return F.adaptive_avg_pool2d(x, (min(side, space[0]), min(side, space[1]))).flatten(1)
    return F.adaptive_avg_pool1d(x, min(side, space[0])).flatten(1)


# -- the data -------------------------------------------------------------------------------
def open_data(config: dict[str, Any]) -> Dataset:
    from ganforge.data import open_source

    return open_source(config["data"], **config.get("data_options", {}))


class Neighbours:
    """A search among the training samples: by small copies first, the best of them in full.

    Args:
        data: what the run was trained on.
        most: of a larger set, so many evenly spaced samples are searched.
    """

    def __init__(self, data: Dataset, most: int = 60_000) -> None:
        import torch

        self.data = data
        self.numbers = np.linspace(0, len(data) - 1, min(len(data), most)).astype(np.int64)
        parts = [self._small(self.numbers[i : i + 512]) for i in range(0, len(self.numbers), 512)]
        self.small = torch.cat(parts)
        self.squares = self.small.square().sum(1)

    def _small(self, numbers: np.ndarray) -> Tensor:
        return pooled(self.data.batch(numbers).real, 256)

    def nearest(self, x: Tensor, count: int) -> dict[str, Any]:
        """Of one sample (*shape): the nearest ones by root-mean-square difference."""
        q = pooled(x[None], 256)[0]
        rough = self.squares - 2 * self.small @ q
        best = rough.topk(min(8 * count, len(rough)), largest=False).indices.numpy()
        numbers = self.numbers[best]
        batch = self.data.batch(numbers)
        distance = (batch.real - x).flatten(1).square().mean(1).sqrt()
        order = distance.argsort()[:count].tolist()
        found = []
        for i in order:
            name = None
            if batch.label is not None and self.data.classes:
                name = self.data.classes[int(batch.label[i])]
            picture = base64.b64encode(sheet(batch.real[i : i + 1], 1)).decode()
            found.append(
                {
                    "number": int(numbers[i]),
                    "distance": round(float(distance[i]), 4),
                    "class": name,
                    "picture": f"data:image/png;base64,{picture}",
                }
            )
        return {"nearest": found, "searched": len(self.numbers), "of": len(self.data)}


# -- as files -------------------------------------------------------------------------------
def pictures(x: Tensor) -> np.ndarray:
    """(N, H, W, 3) uint8 of samples of any shape."""
    if x.dim() != 4:
        from ganforge.gallery import picture

        # A waveform each; vectors are points, and shown together.
        parts = [x] if x.dim() == 2 else x.split(1)
        return np.stack([np.asarray(picture(part, 1).convert("RGB")) for part in parts])
    n, c, h, w = x.shape
    v = x.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    if c == 1:
        return v.repeat(3, 3)
    if c == 2:
        return np.concatenate([v, np.zeros((n, h, w, 1), np.uint8)], 3)
    return np.ascontiguousarray(v[..., :3])


def sheet(x: Tensor, columns: int) -> bytes:
    """A PNG of the samples side by side, without gaps."""
    v = pictures(x)
    n, h, w, _ = v.shape
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    out = np.zeros((rows * columns, h, w, 3), np.uint8)
    out[:n] = v
    grid = out.reshape(rows, columns, h, w, 3).swapaxes(1, 2).reshape(rows * h, columns * w, 3)
    return png_bytes(Image.fromarray(grid))


def png_bytes(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def film(x: Tensor, form: str, seconds: float = 0.06) -> bytes:
    """An animation that goes there and back."""
    v = pictures(x)
    scale = max(1, WATCHABLE // max(v.shape[1:3]))
    frames = [Image.fromarray(f.repeat(scale, 0).repeat(scale, 1)) for f in v]
    frames += frames[-2:0:-1]
    file = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "method": 2} if form == "webp" else {}
    frames[0].save(
        file,
        form.upper(),
        save_all=True,
        append_images=frames[1:],
        duration=round(seconds * 1000),
        loop=0,
        **options,
    )
    return file.getvalue()


def npy(v: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, v, allow_pickle=False)
    return file.getvalue()
