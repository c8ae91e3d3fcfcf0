"""ganforge: every GAN in a few readable lines, one excellent loop, honest scores.

import ganforge
run = ganforge.train("fashion-mnist", recipe="dcgan", minutes=2)
pictures = ganforge.load(run.path).sample(16)      # (16, 1, 28, 28) in [-1, 1]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganforge.api import load, plan, resume, train
    from ganforge.errors import UserError
    from ganforge.objectives.check import check_objective
    from ganforge.objectives.latent import Latent
    from ganforge.objectives.objective import Objective, Player, TwoPlayer
    from ganforge.recipes import Recipe
    from ganforge.spec import Ask, Batch, Spec

__version__ = "0.1.0"

# Imported when first used: `import ganforge` and `ganforge --help` need no torch.
_HOMES = {
    "train": "api",
    "resume": "api",
    "load": "api",
    "plan": "api",
    "check_objective": "objectives.check",
    "Objective": "objectives.objective",
    "TwoPlayer": "objectives.objective",
    "Player": "objectives.objective",
    "Latent": "objectives.latent",
    "Recipe": "recipes",
    "Spec": "spec",
    "Batch": "spec",
    "Ask": "spec",
    "UserError": "errors",
}

__all__ = [
    "Ask",
    "Batch",
    "Latent",
    "Objective",
    "Player",
    "Recipe",
    "Spec",
    "TwoPlayer",
    "UserError",
    "check_objective",
    "load",
    "plan",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"ganforge.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ganforge' has no attribute {name!r}")
