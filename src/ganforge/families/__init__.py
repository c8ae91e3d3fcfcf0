"""Families of networks, one file each, built from shapes only.

family("dcgan", width=32).critic((3, 32, 32), classes=10, heads={"code": 10})
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import typing
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError

if TYPE_CHECKING:
    from ganforge.families.base import Family

FAMILIES: dict[str, str] = {
    name: f"ganforge.families.{name}:{kind}"
    for name, kind in {
        "mlp": "MLP",
        "dcgan": "DCGAN",
        "r3gan": "R3GAN",
        "resnet": "ResNet",
        "biggan": "BigGAN",
        "frogs": "Frogs",
        "wavegan": "WaveGAN",
        "unet": "UNet",
        "srresnet": "SRResNet",
        "patch": "Patch",
        "johnson": "Johnson",
    }.items()
}
"""Name to where its class is; imported when asked for."""


def family_class(name: str) -> type[Family]:
    """A family's class by name.

    Raises:
        UserError: there is no such family.
    """
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"family {name!r} is unknown; {hint}choose one of {', '.join(FAMILIES)}")
    module, _, kind = FAMILIES[name].partition(":")
    return getattr(importlib.import_module(module), kind)


def options(name: str) -> dict[str, Any]:
    """A family's own settings and their defaults."""
    parameters = inspect.signature(family_class(name)).parameters
    return {k: p.default for k, p in parameters.items()}


def family(name: str, **settings: Any) -> Family:
    """A family by name, with its options.

    Raises:
        UserError: an unknown family or option, or a value that the family refuses.
    """
    known = options(name)
    for key in settings:
        if key not in known:
            allowed = ", ".join(f"{k}={v}" for k, v in known.items())
            raise UserError(f"family {name!r} has no option {key!r}; it has: {allowed}")
    kind = family_class(name)
    for key, hint in typing.get_type_hints(kind.__init__).items():
        if key in settings:
            _check(f"family {name!r}: {key}", settings[key], hint, known[key])
    return kind(**settings)


def _check(what: str, value: Any, hint: Any, default: Any) -> None:
    """Refuse values outside an option's allowed words, and numbers below its least."""
    allowed = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
    if allowed is not None and value not in allowed:
        raise UserError(
            f"{what}={value!r} does not fit; choose one of {', '.join(map(str, allowed))}"
        )
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, int | float) and not isinstance(default, bool) and not number:
        raise UserError(f"{what}={value!r} does not fit; give a number such as {default}")
    least = 1 if what.endswith("width") else 0
    if number and value < least:
        raise UserError(f"{what}={value!r} does not fit; use {least} or more")
