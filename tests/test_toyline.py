"""The game in one dimension, drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ganforge.errors import UserError
from ganforge.toyline import SETTINGS, film, line_game, zero


def test_a_score_known_but_for_a_constant_is_set_right() -> None:
    x = torch.linspace(-4, 5, 400).double()
    p, q = ((-0.5 * (x - m).square()).exp() for m in (0.0, 1.0))
    assert zero((p / q).log() + 3, p + q) == pytest.approx(3, abs=1e-3)


def test_the_rates_fall_until_the_last_step() -> None:
    _, trainer = line_game("gan", {}, 0, steps=10)
    for _ in range(10):
        trainer.turn()
    trainer.set_rates()
    assert trainer.progress == 1
    assert trainer.images == 10 * SETTINGS["d_steps"] * SETTINGS["batch_size"]
    assert line_game("gan", {"horizon": 77}, 0, steps=10)[1].horizon == 77
    assert line_game("gan", {"horizon": None}, 0, steps=10)[1].horizon is None


@pytest.mark.parametrize("recipe", ["gan", "lsgan", "r3gan"])
def test_d_nears_the_best_d(recipe: str) -> None:
    assert film(recipe, steps=200, frames=2)[-1].gap < 0.15


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("wgan", {}),
        ("sngan", {}),
        ("infogan", {}),
        ("gan", {"latent.size": 3}),
        ("gan", {"latent.continuous": 1}),
    ],
)
def test_refused_where_there_is_no_such_picture(recipe: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="choose gan, lsgan"):
        line_game(recipe, settings, 0, steps=4)
