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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from ganforge.sounds import is_sound
from ganforge.studio.compute import compute
from ganforge.studio.library import Library
from ganforge.studio.problems import Problem
from ganforge.studio.repair import Repairs

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.generator import Generator
    from ganforge.judging.neighbours import Neighbours
    from ganforge.latents import Directions
    from ganforge.spec import Ask

MOST_OPEN = 3
MOST_FRAMES = 240
MOST_PIXELS = 1 << 24
MOST_HEARD = 1 << 21
"""Values of the waves that one answer carries: 4 MiB of them."""
DIRECTIONS = 6


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
        form: one PNG of all pictures, an animation, one WAV of all sounds, or the latents.
        columns: of the PNG.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    step: int = Field(ge=0)
    points: list[Point] = Field(min_length=1, max_length=128)
    between: int = Field(0, ge=0, le=60)
    form: Literal["png", "webp", "gif", "mp4", "wav", "npy"] = "png"
    columns: int = Field(8, ge=1, le=64)


@dataclass
class Opened:
    """A generator in memory, with what was found out about it.

    Attributes:
        sound: whether its samples can be heard.
    """

    generator: Generator
    sound: bool = False
    directions: dict[int | None, Directions] = field(default_factory=dict)
    index: Neighbours | None = None

    def see(self, x: Tensor) -> np.ndarray:
        """Samples (N, *shape) as pictures (N, H, W, 3) uint8."""
        return spectrograms(self.generator.config, x) if self.sound else pictures(x)


class Explorer:
    """The opened generators; those used least recently are let go."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.repairs = Repairs()
        self._opened: OrderedDict[tuple[str, int, int], Opened] = OrderedDict()

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
        from ganforge.latents import ffmpeg

        g = compute(lambda: self._get(key, step)).generator
        latent = g.latent
        if g.spec.source is not None:
            self.repairs.ready()
        return {
            "video": ffmpeg() is not None,
            "sound": is_sound(g.config),
            "step": step,
            "checkpoints": steps,
            "best": (entry.run.best or {}).get("step"),
            "shape": list(g.spec.shape),
            "source": g.spec.source and list(g.spec.source),
            "damage": g.config.get("data_options", {}).get("degrade"),
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
        run = self.library.entry(key).run
        name = (key, step, run.written(step))
        if name not in self._opened:
            from ganforge.api import load

            g = load(run.path, step, device="cpu")
            self._opened[name] = Opened(g, is_sound(g.config))
        self._opened.move_to_end(name)
        while len(self._opened) > MOST_OPEN:
            self._opened.popitem(last=False)
        return self._opened[name]

    # -- making -------------------------------------------------------------------------
    def make(self, key: str, wanted: Wanted) -> tuple[bytes, str]:
        """(content, media type)."""
        return compute(lambda: self._make(self._get(key, wanted.step), wanted))

    def hear(self, key: str, wanted: Wanted) -> dict[str, Any]:
        """The same as sounds, one by one: {"sounds": [{"wav", "picture"}]}, see `playable`."""

        def work() -> dict[str, Any]:
            opened = self._get(key, wanted.step)
            return {"sounds": playable(opened.generator, waves(opened, self._ask(opened, wanted)))}

        return compute(work)

    def _ask(self, opened: Opened, wanted: Wanted) -> Ask:
        frames = len(wanted.points)
        between = wanted.between if frames > 1 else 0
        check_size(opened.generator, (frames - 1) * between + 1 if between else frames)
        ask = resolve(opened, wanted.points)
        if between:
            ask = path(opened.generator, ask, between)
        return ask

    def _make(self, opened: Opened, wanted: Wanted) -> tuple[bytes, str]:
        ask = self._ask(opened, wanted)
        assert ask.latent is not None
        if wanted.form == "npy":
            return npy(ask.latent.numpy()), "application/octet-stream"
        if wanted.form == "wav":
            from ganforge.sounds import rate_of, wav

            rate = rate_of(opened.generator.config)
            return wav(waves(opened, ask), rate), "audio/wav"
        x = opened.generator.make(ask)
        if wanted.form == "png":
            return sheet(opened.see(x), wanted.columns), "image/png"
        from ganforge.latents import animation

        kind = "video" if wanted.form == "mp4" else "image"
        return animation(x, wanted.form, back=True), f"{kind}/{wanted.form}"

    def repair(self, key: str, step: int, data: bytes, damage: bool) -> dict[str, Any]:
        """See `ganforge.studio.repair.repaired`."""
        return self.repairs.make(self.library.entry(key).run.path, step, data, damage)

    def directions(self, key: str, step: int, label: int | None) -> dict[str, Any]:
        """The directions along which the pictures change most, as the share of the change
        that each makes."""

        def work() -> dict[str, Any]:
            opened = self._get(key, step)
            resolve(
                opened, [Point.model_validate({"label": label})]
            )  # refuses what has no such class
            return {"shares": find_directions(opened, label).shares}

        return compute(work)

    def neighbours(self, key: str, step: int, point: Point, count: int = 8) -> dict[str, Any]:
        """The training samples that look most like the sample at a point."""

        def work() -> dict[str, Any]:
            opened = self._get(key, step)
            x = opened.generator.make(resolve(opened, [point]))
            if opened.index is None:
                from ganforge.judging.neighbours import Neighbours, training_data

                opened.index = Neighbours(training_data(opened.generator.config), most=60_000)
            return nearest(opened, opened.index, x, count)

        return compute(work)


def class_names(g: Generator) -> list[str]:
    names = list(g.classes)
    return [names[i] if i < len(names) else str(i) for i in range(g.spec.classes)]


def check_size(g: Generator, frames: int) -> None:
    if frames > MOST_FRAMES or frames * math.prod(g.spec.shape) > 4 * MOST_PIXELS:
        raise Problem(422, "Too much at once", f"at most {MOST_FRAMES} pictures are made at once")


def resolve(opened: Opened, points: list[Point]) -> Ask:
    """The points as a request.

    Raises:
        Problem: the generator starts from pictures, or has no such class.
        UserError: it has no such code.
    """
    import torch

    from ganforge import draws
    from ganforge.spec import Ask

    g = opened.generator
    latent = g.latent
    if latent is None:
        raise Problem(
            422,
            "No latent space",
            "this generator transforms pictures; give it one on its explore page, or use ganforge apply",
        )
    rows, labels = [], []
    for p in points:
        with draws.keyed(p.seed, "explore", torch.arange(3)):
            base = draws.normal(3, latent.size)
            codes_drawn = latent.draw(3)[:1]
        r = math.hypot(p.u, p.v)
        toward = (p.u * base[1] + p.v * base[2]) / (r or 1.0)
        noise = math.cos(r) * base[0] + math.sin(r) * toward
        if any(p.push):
            vectors = find_directions(opened, p.label).vectors[: len(p.push), : latent.size]
            moved = noise + torch.tensor(p.push[: len(vectors)]) @ vectors
            noise = moved * (noise.norm() / moved.norm().clamp_min(1e-9))
        for i, value in enumerate(p.code):
            if value is not None:
                codes_drawn = latent.set_code(codes_drawn, i, value)
        if latent.kind != "normal" or p.truncation < 1:
            noise = latent.noise(torch.special.ndtr(noise[None]), p.truncation)[0]
        rows.append(torch.cat([noise, codes_drawn[0, latent.size :]]))
        labels.append(check_label(g, p))
    return Ask(torch.stack(rows), torch.tensor(labels) if g.spec.classes else None)


def check_label(g: Generator, p: Point) -> int:
    classes = g.spec.classes
    if p.label is not None and p.label >= max(classes, 1):
        raise Problem(422, "No such class", f"this generator has {classes} classes")
    if p.label is None:
        return p.seed % classes if classes else 0
    return p.label


def path(g: Generator, ask: Ask, frames: int) -> Ask:
    """From each latent to the next in so many steps, and the last."""
    import torch

    from ganforge.generator import chain
    from ganforge.spec import Ask

    z, y = ask.latent, ask.label
    assert z is not None
    way = chain(g.latent, ask, torch.arange(frames) / frames)
    assert way.latent is not None
    label = None if y is None or way.label is None else torch.cat([way.label, y[-1:]])
    return Ask(torch.cat([way.latent, z[-1:]]), label)


def find_directions(opened: Opened, label: int | None) -> Directions:
    """What changes the pictures most, found once."""
    from ganforge import latents

    if label not in opened.directions:
        g = opened.generator
        count = min(DIRECTIONS, g.latent.size if g.latent else 0)
        opened.directions[label] = latents.directions(g, count, "pictures", label, samples=512)
    return opened.directions[label]


# -- the data -------------------------------------------------------------------------------
def nearest(opened: Opened, known: Neighbours, x: Tensor, count: int) -> dict[str, Any]:
    """The training samples that look most like one sample (1, *shape), with pictures, and of
    sounds what they sound like."""
    distance, numbers = known.nearest(x, count)
    found = known.table(distance[0], numbers[0])
    real = known.data.batch(numbers[0]).real
    for row, shown in zip(found, opened.see(real), strict=True):
        row["picture"] = url(sheet(shown[None], 1))
    if opened.sound:
        from ganforge.sounds import heard

        sounds = playable(opened.generator, heard(opened.generator.config, real))
        found = [row | sound for row, sound in zip(found, sounds, strict=True)]
    return {"nearest": found, "searched": known.searched, "of": len(known.data)}


# -- sounds ---------------------------------------------------------------------------------
def waves(opened: Opened, ask: Ask) -> Tensor:
    """(N, C, T) in [-1, 1].

    Raises:
        Problem: it makes no sounds, or that would be too many.
    """
    from ganforge.sounds import Hearing

    if not opened.sound:
        raise Problem(422, "Nothing to hear", "this generator makes no sounds")
    hearing = Hearing(opened.generator)
    assert ask.latent is not None
    if len(ask.latent) * math.prod(hearing.spec.shape) > MOST_HEARD:
        most = MOST_HEARD // math.prod(hearing.spec.shape)
        raise Problem(422, "Too much at once", f"at most {most} sounds are heard at once")
    return hearing.make(ask)


def playable(g: Generator, x: Tensor) -> list[dict[str, str]]:
    """Waves (N, C, T) for a page, each as "wav", base64, and "picture", a data URL."""
    from ganforge.gallery import spectrogram
    from ganforge.sounds import rate_of, wav

    rate = rate_of(g.config)
    return [
        {
            "wav": base64.b64encode(wav(one[None], rate)).decode(),
            "picture": url(png_bytes(spectrogram(one))),
        }
        for one in x
    ]


def spectrograms(config: Mapping[str, Any], x: Tensor) -> np.ndarray:
    from ganforge.sounds import seen

    return np.stack([np.asarray(image) for image in seen(config, x)])


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


def sheet(v: np.ndarray, columns: int) -> bytes:
    """A PNG of pictures (N, H, W, 3) side by side, without gaps."""
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


def url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def npy(v: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, v, allow_pickle=False)
    return file.getvalue()
