"""The games, one file a paper, and the extra terms that can join them."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError

if TYPE_CHECKING:
    from ganforge.objectives.objective import Objective
    from ganforge.objectives.terms import Term

OBJECTIVES: dict[str, str] = {
    "gan": "gan:GAN",
    "lsgan": "lsgan:LSGAN",
    "wgan": "wgan:WGAN",
    "wgan-gp": "wgan_gp:WGANGP",
    "dragan": "dragan:DRAGAN",
    "hinge": "hinge:Hinge",
    "rpgan": "rpgan:RpGAN",
    "infogan": "infogan:InfoGAN",
    "ebgan": "ebgan:EBGAN",
    "began": "began:BEGAN",
    "ae": "ae:AE",
    "vae": "vae:VAE",
    "regression": "regression:Regression",
    "cyclegan": "cyclegan:CycleGAN",
    "cut": "cut:CUT",
}
"""Name to where its class is; imported when asked for."""


def objective_class(name: str) -> type[Objective]:
    """A game's class by name.

    Raises:
        UserError: there is no such game.
    """
    if name not in OBJECTIVES:
        near = difflib.get_close_matches(name, OBJECTIVES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"objective {name!r} is unknown; {hint}choose one of {', '.join(OBJECTIVES)}"
        )
    module, _, kind = OBJECTIVES[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), kind)


def make_objective(name: str, **settings: Any) -> Objective:
    """A game by name, with its options.

    Raises:
        UserError: an unknown game or option, or a value that it refuses.
    """
    from ganforge.objectives.objective import options

    cls = objective_class(name)
    known = options(cls)
    for key in settings:
        if key not in known:
            allowed = ", ".join(f"{k}={v}" for k, v in known.items() if k != "latent")
            raise UserError(f"objective {name!r} has no option {key!r}; it has: {allowed}")
    return cls(**settings)


def term(name: str, weight: float = 1.0) -> Term:
    """An extra term by name, weighted.

    Raises:
        UserError: there is no such term, or the weight does not fit.
    """
    from ganforge.objectives.terms import term as make

    return make(name, weight)
