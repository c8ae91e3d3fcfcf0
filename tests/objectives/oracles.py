"""The single-file scripts of examples/, and their networks as a game holds them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

EXAMPLES = Path(__file__).parents[2] / "examples"


@lru_cache
def oracle(name: str) -> ModuleType:
    """examples/oracle_NAME.py, imported."""
    path = EXAMPLES / f"oracle_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Made(nn.Module):
    """A script's generator: G(z, y), y only where it takes classes; latents in its precision."""

    def __init__(self, net: nn.Module, classes: bool = False) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        z = z.to(next(self.net.parameters()).dtype)
        return self.net(z, y) if self.classes else self.net(z)


class Judge(nn.Module):
    """A script's discriminator (or encoder), its answer named by `named`."""

    def __init__(
        self,
        net: nn.Module,
        named: Callable[[Any], dict[str, Tensor]] | None = None,
        classes: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.classes = net, classes
        self.named = named or (lambda score: {"score": score})

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return self.named(self.net(x, y) if self.classes else self.net(x))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.outputs(x, y)["score"]


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    """The gradient of each parameter, 0 where the loss does not depend on it."""
    parameters = list(net.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
