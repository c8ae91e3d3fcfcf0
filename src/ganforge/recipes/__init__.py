"""Named, complete settings: objective x family x choices, each with its citation and the
headline that a test or `make headlines` checks. One short file a recipe."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError

if TYPE_CHECKING:
    from ganforge.objectives.objective import Family, Objective


@dataclass(frozen=True)
class Recipe:
    """A GAN by name.

    Attributes:
        objective: the game, by its registered name or as a class of one's own.
        family: the networks, by registered name or as a class of one's own.
        citation: authors, year, title, arXiv number.
        headline: the claim that its paper is known for, as a test can check it.
        settings: what differs from the defaults of `ganforge.config.Config`, of the
            objective and of the family, by the keys that `--set` takes.
        toy: settings for `ganforge toy`, where two dimensions ask for other rates.
        about: what to know before choosing it.
        plan: for a recipe that looks at the data and the machine first: (dataset, the
            user's settings) to (settings, the reasons).
    """

    name: str
    objective: str | type[Objective]
    family: str | type[Family]
    citation: str
    headline: str
    settings: dict[str, Any] = field(default_factory=dict)
    toy: dict[str, Any] = field(default_factory=dict)
    about: str = ""
    plan: Callable[[Any, dict[str, Any]], tuple[dict[str, Any], list[str]]] | None = None

    def with_settings(self, settings: dict[str, Any]) -> Recipe:
        """The same recipe with some settings decided."""
        decided = dict(settings)
        return replace(
            self,
            objective=decided.pop("objective", self.objective),
            family=decided.pop("family", self.family),
            settings={**self.settings, **decided},
        )

    def row(self) -> dict[str, Any]:
        """As `ganforge recipes --json` lists it."""
        return {
            "name": self.name,
            "objective": named(self.objective),
            "family": named(self.family),
            "citation": self.citation,
            "headline": self.headline,
            "settings": self.settings,
        }


def named(part: str | type) -> str:
    """The registered name, or the class's own."""
    return part if isinstance(part, str) else part.__name__


def names() -> list[str]:
    """The names of all recipes."""
    found = [m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)]
    return sorted(n for n in found if not n.startswith("-"))


def recipe(name: str) -> Recipe:
    """A recipe by name, or one's own as ./FILE.py:NAME (that file is run).

    Raises:
        UserError: there is no such recipe.
    """
    if ".py:" in name:
        return _own(name)
    if name not in names():
        import difflib

        near = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"recipe {name!r} is unknown; {hint}choose one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").recipe


def _own(reference: str) -> Recipe:
    file, _, name = reference.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"recipe file {path} does not exist; give ./FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"ganforge_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not isinstance(found, Recipe):
        have = [k for k, v in vars(module).items() if isinstance(v, Recipe)] or ["none"]
        raise UserError(f"{path} defines no recipe {name!r}; it has: {', '.join(have)}")
    return found
