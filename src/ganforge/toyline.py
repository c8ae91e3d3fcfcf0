"""The picture everyone knows: Figure 1 of Goodfellow et al. 2014 (arXiv 1406.2661), made by
a real training. p_data dotted, p_g solid, D dashed with the analytic D* = p / (p + q)
beside it, and arrows from z to x = G(z)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganforge import config as configuration
from ganforge import recipes
from ganforge.build import Game, build_game, build_trainer, own_names, own_of
from ganforge.data import Dataset
from ganforge.errors import UserError
from ganforge.objectives.lsgan import LSGAN
from ganforge.objectives.objective import TwoPlayer
from ganforge.objectives.rpgan import RpGAN
from ganforge.spec import Ask, Batch
from ganforge.training.trainer import Trainer

LOW, HIGH, POINTS = -3.0, 4.0, 281
MEAN, SIGMA = 1.0, 0.5
# No momentum, with which G overshoots what D has just found out; no ReLU, whose units stay off
# and leave G flat there: p_g comes the nearer to p_data.
SETTINGS: dict[str, Any] = {
    "family": "mlp", "width": 32, "depth": 3, "activation": "lrelu", "latent.size": 1, "latent.kind": "uniform",
    "batch_size": 256, "lr": 2e-3, "d_steps": 3, "betas": (0.0, 0.99), "rate_end": 0.02, "conditioning": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """The game at one step: curves over `grid`, and G at evenly spaced z."""

    step: int
    grid: np.ndarray  # (POINTS,)
    p: np.ndarray
    q: np.ndarray
    d: np.ndarray
    z: np.ndarray  # (K,) in [-1, 1]
    x: np.ndarray  # (K,)

    @property
    def d_star(self) -> np.ndarray:
        """p / (p + q), the best D against this G."""
        return self.p / np.maximum(self.p + self.q, 1e-12)

    @property
    def gap(self) -> float:
        """The mean of |D - D*| under (p + q) / 2: how far D is from the best one."""
        w = self.p + self.q
        return float((w * abs(self.d - self.d_star)).sum() / w.sum())


def latent_width(game: TwoPlayer) -> int:
    return 0 if game.latent is None else game.latent.width


def line_game(
    recipe: str, settings: Mapping[str, Any], seed: int, steps: int
) -> tuple[Game, Trainer]:
    rng = np.random.default_rng(seed)
    x = (MEAN + SIGMA * rng.standard_normal((50_000, 1))).astype(np.float32)
    chosen = recipes.recipe(recipe)
    own = own_of(chosen)
    config = configuration.resolve(
        chosen.with_settings(SETTINGS),
        {"seed": seed, **settings},
        shape=(1,),
        rules=own.objective,
        data="line",
    )
    config = config.model_copy(update=own_names(own))
    game = build_game(config, own)
    d = game.objective
    if not isinstance(d, TwoPlayer) or len(game.nets) != 2 or latent_width(d) != 1:
        raise UserError(
            f"recipe {recipe!r} with these settings has not one G from one number, and one D, to draw; "
            "choose gan, lsgan, r3gan, dragan ... and leave the latent alone"
        )
    if d.squash is not TwoPlayer.squash and not (isinstance(d, LSGAN) and (d.a, d.b) == (0, 1)):
        raise UserError(
            f"the D of recipe {recipe!r} estimates no p / (p + q), which is what the picture compares "
            "it with; choose gan, lsgan, r3gan, dragan ..."
        )
    if config.horizon is None and "horizon" not in settings:
        turn = config.batch_size * d.d_steps  # images: the rates fall until the last step
        config = config.model_copy(update={"horizon": steps * turn})
        game = replace(game, config=config)
    return game, build_trainer(game, Dataset(x, name="line", fingerprint=f"line-{seed}"))


@torch.no_grad()
def moment(game: Game, trainer: Trainer) -> Moment:
    """Measure the game as it stands."""
    grid = np.linspace(LOW, HIGH, POINTS)
    z = torch.linspace(-1, 1, 4001).unsqueeze(1)
    x = game.objective.sample(trainer.nets, Ask(z))[:, 0].numpy()
    points = torch.tensor(grid, dtype=torch.float32).unsqueeze(1)
    objective = game.objective
    assert isinstance(objective, TwoPlayer)
    score = objective.judge(trainer.nets, points, Batch(points))["score"]
    width = max(0.06, 0.5 * x.std() * len(x) ** -0.2)
    kernel = np.exp(-0.5 * ((grid[:, None] - x[None]) / width) ** 2)
    q = kernel.mean(1) / (width * math.sqrt(2 * math.pi))
    p = np.exp(-0.5 * ((grid - MEAN) / SIGMA) ** 2) / (SIGMA * math.sqrt(2 * math.pi))
    if isinstance(objective, RpGAN):
        score = score - zero(score, torch.from_numpy(p + q))
    at = np.linspace(0, len(x) - 1, 17).astype(int)
    return Moment(
        trainer.step, grid, p, q, objective.squash(score).numpy(), z[at, 0].numpy(), x[at]
    )


def zero(score: Tensor, weight: Tensor) -> float:
    """What is to be taken from scores (N,) that are known but for a constant, so that D has the
    mean of 1/2 under `weight` (N,), as p / (p + q) has under p + q."""
    low, high = score.min().item(), score.max().item()
    for _ in range(60):
        middle = (low + high) / 2
        mean = ((score - middle).sigmoid() * weight).sum() / weight.sum()
        low, high = (middle, high) if mean > 0.5 else (low, middle)
    return (low + high) / 2


def film(
    recipe: str = "gan", steps: int = 2000, seed: int = 0, frames: int = 48,
    settings: Mapping[str, Any] | None = None, watch: Callable[[Moment], None] = lambda _: None,
) -> list[Moment]:  # fmt: skip
    """Train and measure `frames` moments, more often at the beginning; `watch` sees each as it
    comes."""
    game, trainer = line_game(recipe, settings or {}, seed, steps)
    marks = sorted({round(steps * (i / (frames - 1)) ** 2) for i in range(frames)})
    seen = []
    for mark in marks:
        while trainer.step < mark:
            bad = trainer.turn().non_finite()
            if bad:
                raise UserError(f"{recipe} diverged at step {trainer.step} ({bad[0]}); lower lr")
        seen.append(moment(game, trainer))
        watch(seen[-1])
    return seen


# -- drawing --------------------------------------------------------------------------------
INK, DATA, MADE, JUDGE, BEST = "#24292f", "#24292f", "#1a7f37", "#1f6feb", "#9ec5fe"
WIDTH, HEIGHT, ZOOM = 380, 330, 3


def draw(m: Moment) -> Image.Image:
    """One moment as a picture, drawn large and reduced, so that lines are smooth."""
    im = Image.new("RGB", (WIDTH * ZOOM, HEIGHT * ZOOM), "white")
    d = ImageDraw.Draw(im)
    top, base, axis_x, axis_z = 34, 212, 232, 292

    def at(x: float, y: float) -> tuple[float, float]:
        return ((x - LOW) / (HIGH - LOW) * (WIDTH - 20) + 10) * ZOOM, y * ZOOM

    def curve(y: np.ndarray, colour: str, dash: tuple[int, int] | None, thick: float,
              where: np.ndarray | None = None) -> None:  # fmt: skip
        points = [at(x, base - v * (base - top)) for x, v in zip(m.grid, y, strict=True)]
        for i in range(len(points) - 1):
            drawn = dash is None or i % sum(dash) < dash[0]
            if drawn and (where is None or (where[i] and where[i + 1])):
                d.line(points[i : i + 2], fill=colour, width=round(thick * ZOOM), joint="curve")

    tallest = max(0.9, m.p.max())
    curve(m.d_star, BEST, None, 2.2, m.p + m.q > 1e-3)  # elsewhere there is nothing to tell apart
    curve(m.p / tallest * 0.95, DATA, (1, 2), 2.2)
    curve(np.minimum(m.q / tallest, 1.05) * 0.95, MADE, None, 2.2)
    curve(m.d, JUDGE, (5, 3), 2.0)
    for y in (axis_x, axis_z):
        d.line([at(LOW, y), at(HIGH, y)], fill=INK, width=ZOOM)
    middle, reach = (LOW + HIGH) / 2, (HIGH - LOW) / 2 * 0.8
    for z, x in zip(m.z, m.x, strict=True):
        a, b = at(middle + z * reach, axis_z), at(float(np.clip(x, LOW, HIGH)), axis_x + 3)
        d.line([a, b], fill=MADE, width=ZOOM)
        angle = math.atan2(b[1] - a[1], b[0] - a[0])
        wing = [
            (b[0] - 5 * ZOOM * math.cos(angle + s), b[1] - 5 * ZOOM * math.sin(angle + s))
            for s in (0.4, -0.4)
        ]
        d.polygon([b, *wing], fill=MADE)
    font, small = ImageFont.load_default(15 * ZOOM), ImageFont.load_default(12 * ZOOM)
    d.text((10 * ZOOM, 6 * ZOOM), f"step {m.step}", fill=INK, font=font)
    d.text(((WIDTH - 24) * ZOOM, (axis_x - 18) * ZOOM), "x", fill=INK, font=font)
    d.text(((WIDTH - 24) * ZOOM, (axis_z - 18) * ZOOM), "z", fill=INK, font=font)
    legend = (("data", DATA, (2, 3)), ("forged", MADE, (18, 0)), ("D", JUDGE, (7, 4)),
              ("D* = p/(p+q)", BEST, (18, 0)))  # fmt: skip
    x = 10.0
    for name, colour, (drawn, gap) in legend:
        for start in range(0, 18, drawn + gap):
            left, right = x + start, x + min(start + drawn, 18)
            d.rectangle(
                [left * ZOOM, (axis_z + 18) * ZOOM, right * ZOOM, (axis_z + 20.5) * ZOOM],
                fill=colour,
            )
        d.text(((x + 23) * ZOOM, (axis_z + 11) * ZOOM), name, fill=INK, font=small)
        x += 38 + 7.0 * len(name)
    return im.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def strip(moments: Sequence[Moment]) -> Image.Image:
    """Four moments side by side: the beginning, the first moves, half way, the end."""
    last = moments[-1].step
    chosen = [
        min(moments, key=lambda m, s=s: abs(m.step - s)) for s in (0, last // 40, last // 8, last)
    ]
    im = Image.new("RGB", (WIDTH * 4, HEIGHT), "white")
    for i, m in enumerate(chosen):
        im.paste(draw(m), (i * WIDTH, 0))
    return im
