"""Games whose truth is known: `ganforge toy ring|grid|line|stacked-mnist`.

The ring and the grid are PacGAN's (Lin et al. 2017, arXiv 1712.04086): its data, networks
and counting. Optimisers are each recipe's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge import config as configuration
from ganforge import draws, recipes
from ganforge.build import Game, build_game, build_trainer
from ganforge.data import Dataset
from ganforge.errors import UserError
from ganforge.judging.modes import Mixture, count_modes, grid, ring
from ganforge.sitting import Budget
from ganforge.spec import Ask
from ganforge.training.trainer import Trainer

MIXTURES: dict[str, Callable[[], Mixture]] = {"ring": ring, "grid": grid}
# PacGAN's networks: G of two hidden layers of 400 ReLU, D of 200 maxout units of 5 pieces,
# weights from N(0, .02^2); z of two normals, batches of 100, 100,000 samples.
NETWORKS: dict[str, Any] = {
    "family": "mlp",
    "width": 400,
    "depth": 2,
    "d_width": 200,
    "d_depth": 1,
    "d_activation": "maxout",
    "init": "normal",
    "latent.size": 2,
    "latent.kind": "normal",
    "batch_size": 100,
    "conditioning": "none",
    "horizon": 2_000_000,
}
SAMPLES, JUDGED = 100_000, 2500


def toy_game(kind: str, recipe: str, settings: Mapping[str, Any], seed: int) -> tuple[Game, Trainer]:
    """The game of a recipe on a mixture, with PacGAN's networks."""
    if kind not in MIXTURES:
        raise UserError(f"toy {kind!r} is unknown; choose one of {', '.join(MIXTURES)}, line, stacked-mnist")
    chosen = recipes.recipe(recipe)
    data = Dataset(MIXTURES[kind]().draw(SAMPLES, seed), name=kind, fingerprint=f"{kind}-{seed}")
    config = configuration.resolve(
        chosen.with_settings(NETWORKS | chosen.toy),
        {"seed": seed, **settings},
        shape=(2,),
        data=kind,
        dataset={"name": kind, "count": SAMPLES},
    )
    game = build_game(config)
    return game, build_trainer(game, data)


def play(
    kind: str,
    recipe: str,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    settings: Mapping[str, Any] | None = None,
    watch: Callable[[Trainer, float], None] | None = None,
) -> dict[str, Any]:
    """Train and count: `{modes, total, high_quality, kl, kl_floor, n, seed}` on 2,500 samples.

    Raises:
        UserError: an unknown toy or recipe, or a recipe that needs classes.
    """
    game, trainer = toy_game(kind, recipe, settings or {}, seed)
    budget = budget or Budget(steps=(game.config.horizon or 1) // images_per_turn(game))
    t0 = time.monotonic()
    while not budget.reached(trainer.step, trainer.images, time.monotonic() - t0):
        bad = trainer.turn().non_finite()
        if bad:
            raise UserError(f"{recipe} diverged on {kind} at step {trainer.step} ({bad[0]}); lower --lr")
        if watch is not None:
            watch(trainer, time.monotonic() - t0)
    x = toy_samples(game, trainer, JUDGED, seed)
    found = count_modes(x.numpy(), MIXTURES[kind]())
    found["kl"] = None if np.isnan(found["kl"]) else found["kl"]  # type: ignore[assignment]
    return {**found, "n": JUDGED, "seed": seed, "steps": trainer.step,
            "seconds": round(time.monotonic() - t0, 1)}  # fmt: skip


def images_per_turn(game: Game) -> int:
    first = game.objective.players()[0]
    return first.steps * game.config.batch_size


@torch.no_grad()
def toy_samples(game: Game, trainer: Trainer, n: int, seed: int) -> Tensor:
    """(n, C) samples by the averaged networks."""
    assert game.objective.latent is not None
    with draws.keyed(seed, "toy", torch.arange(n)):
        z = game.objective.latent.draw(n)
    return game.objective.sample(trainer.ema.nets, Ask(z)).float()
