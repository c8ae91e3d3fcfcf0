"""Toys by recipes that are not of the ordinary kind."""

import pytest

import ganforge
from ganforge import recipes
from ganforge.errors import UserError
from ganforge.sitting import Budget
from ganforge.toyline import line_game
from ganforge.toys import play

MINE = """
import ganforge

class Mine(ganforge.objectives.objective_class("gan")):
    pass

mine = ganforge.Recipe(name="mine", objective=Mine, family="mlp", citation="-", headline="-",
                       settings={"width": 8, "batch_size": 8})
"""


def test_a_recipe_of_ones_own_plays(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    name = f"{tmp_path}/mine.py:mine"
    assert recipes.recipe(name).name == "mine"
    assert play("ring", name, budget=Budget(steps=2))["total"] == 8
    game, _ = line_game(name, {}, 0, 2)
    assert type(game.objective).__name__ == "Mine"


def test_memory_that_is_too_small_is_said_in_words(tmp_path, monkeypatch):
    import numpy as np
    import torch

    from ganforge.training.trainer import Trainer

    def full(self, watch=False):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Trainer, "turn", full)
    x = np.zeros((64, 16, 16), np.uint8)
    config, dataset, _ = ganforge.plan(x, "auto", steps=2)
    for start in (
        lambda: ganforge.api.forecast(config, dataset),
        lambda: ganforge.train(x, "dcgan", tmp_path / "run", steps=2, batch_size=32),
    ):
        with pytest.raises(UserError, match=r"memory is too small .* --batch-size 16,"):
            start()
