"""Games whose truth is known: `ganforge toy ring|grid|line|stacked-mnist`.

The ring and the grid are PacGAN's (Lin et al. 2017, arXiv 1712.04086): its data, networks
and counting. Optimisers are each recipe's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge import config as configuration
from ganforge import draws, recipes
from ganforge.build import Game, build_game, build_trainer, own_names, own_of
from ganforge.data import Dataset, open_source
from ganforge.errors import UserError
from ganforge.gallery import picture
from ganforge.judging.modes import Mixture, count_labels, count_modes, grid, ring
from ganforge.sitting import Budget
from ganforge.spec import Ask, Batch
from ganforge.training.trainer import Source, Trainer

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
    "horizon": 700_000,
}
SAMPLES = 100_000


@dataclass(frozen=True)
class Toy:
    """Data whose modes are known.

    Attributes:
        data: what to train on.
        settings: of the networks, where they are part of the toy.
        count: samples to {modes, total, high_quality, kl, kl_floor}.
        judged: how many samples are counted.
    """

    data: Source
    shape: tuple[int, ...]
    settings: dict[str, Any]
    count: Callable[[Tensor], dict[str, float]]
    judged: int


def mixture(kind: str, seed: int) -> Toy:
    truth = MIXTURES[kind]()
    data = Dataset(truth.draw(SAMPLES, seed), name=kind, fingerprint=f"{kind}-{seed}")
    return Toy(data, (2,), NETWORKS, lambda x: count_modes(x.numpy(), truth), 2500)


class Stacked:
    """Three digits as the channels of one picture: 1,000 modes. The digits of picture i
    are drawn by i, so nothing is stored.

    Args:
        digits: single digits, with labels.
        count: how many pictures there are.
    """

    def __init__(self, digits: Dataset, count: int = 128_000, seed: int = 0) -> None:
        self.digits, self.count, self.seed = digits, count, seed
        self.shape = (3, *digits.shape[1:])

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: np.ndarray) -> Batch:
        index = torch.as_tensor(indices)
        with draws.keyed(self.seed, "stacked", index):
            which = [draws.integers(len(index), len(self.digits)).numpy() for _ in range(3)]
        real = torch.cat([self.digits.batch(w).real for w in which], 1)
        return Batch(real.contiguous(memory_format=torch.channels_last))


def stacked_mnist(seed: int, data_root: Path | None, say: Callable[[str], None]) -> Toy:
    from ganforge.judging.classifier import classifier
    from ganforge.judging.samples import Rows

    digits = open_source("mnist", data_root=data_root)
    say("the judge: a classifier of digits, trained once and kept")
    judge = classifier(
        digits.shape, Rows(digits), Rows(open_source("mnist@test", data_root=data_root))
    )

    def count(x: Tensor) -> dict[str, float]:
        said = [judge.probabilities(judge(c)).argmax(1).numpy() for c in x.split(1, 1)]
        return count_labels(said[0] * 100 + said[1] * 10 + said[2], 1000)

    return Toy(
        Stacked(digits, seed=seed), (3, *digits.shape[1:]), {"conditioning": "none"}, count, 26_000
    )


def toy_game(
    toy: Toy, name: str, recipe: str, settings: Mapping[str, Any], seed: int
) -> tuple[Game, Trainer]:
    """The game of a recipe on a toy."""
    chosen = recipes.recipe(recipe)
    own = own_of(chosen)
    config = configuration.resolve(
        chosen.with_settings(toy.settings | (chosen.toy if len(toy.shape) == 1 else {})),
        {"seed": seed, **settings},
        shape=toy.shape,
        rules=own.objective,
        data=name,
        dataset={"name": name, "count": len(toy.data)},
    )
    game = build_game(config.model_copy(update=own_names(own)), own)
    return game, build_trainer(game, toy.data)


def play(
    kind: str,
    recipe: str,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train and count: `{modes, total, high_quality, kl, kl_floor, n, seed}`.

    Args:
        budget: how long; the recipe's horizon if not given, 10 minutes for stacked-mnist.
        out: where to write a picture of the samples.

    Raises:
        UserError: an unknown toy or recipe.
    """
    if kind in MIXTURES:
        toy = mixture(kind, seed)
    elif kind == "stacked-mnist":
        toy = stacked_mnist(seed, data_root, say)
        budget = budget or Budget(minutes=10)
    else:
        known = ", ".join([*MIXTURES, "line", "stacked-mnist"])
        raise UserError(f"toy {kind!r} is unknown; choose one of {known}")
    game, trainer = toy_game(toy, kind, recipe, settings or {}, seed)
    budget = budget or Budget(images=game.config.horizon)
    t0 = said = time.monotonic()
    while not budget.reached(trainer.step, trainer.images, time.monotonic() - t0):
        bad = trainer.turn().non_finite()
        if bad:
            raise UserError(
                f"{recipe} diverged on {kind} at step {trainer.step} ({bad[0]}); lower its rate: "
                "--set lr=..."
            )
        if time.monotonic() - said > 15:
            said = time.monotonic()
            spent = budget.share(trainer.step, trainer.images, said - t0)
            say(f"{spent:4.0%}  step {trainer.step}")
    seconds = time.monotonic() - t0
    x = toy_samples(game, trainer, toy.judged, seed)
    found = toy.count(x)
    if out is not None:
        real = toy.data.batch(np.arange(1024)).real
        picture(x[: 2500 if x.dim() == 2 else 64], 8, real).save(out)
    kl = None if np.isnan(found["kl"]) else found["kl"]
    return {**found, "kl": kl, "n": toy.judged, "seed": seed, "recipe": recipe,
            "steps": trainer.step, "seconds": round(seconds, 1)}  # fmt: skip


@torch.no_grad()
def toy_samples(game: Game, trainer: Trainer, n: int, seed: int) -> Tensor:
    """(n, *shape) samples by the averaged networks."""
    assert game.objective.latent is not None
    out = []
    for index in torch.arange(n).split(2500):
        with draws.keyed(seed, "toy", index):
            z = game.objective.latent.draw(len(index))
        out.append(game.objective.sample(trainer.ema.nets, Ask(z)).float())
    return torch.cat(out)
