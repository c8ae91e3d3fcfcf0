"""Fully connected networks: Goodfellow et al. 2014 (arXiv 1406.2661), and the small ones
of the toy densities (Lin et al. 2018, PacGAN, arXiv 1712.04086)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.families.base import (
    Autoencoder,
    Conditioning,
    Critic,
    Family,
    Generator,
    joined_classes,
)
from ganforge.families.blocks import (
    BatchNorm,
    Dropout,
    Maxout,
    init_normal,
    normal_layer,
    normalisation,
    to_maps,
    to_vector,
)

Activation = Literal["relu", "lrelu", "maxout"]


def _join(x: Tensor, label: Tensor) -> Tensor:
    return torch.cat([to_vector(x), label], 1)


class _Flatten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return to_vector(x)


class _Shape(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return to_maps(x, self.shape[0], self.shape[1:])


class MLP(Family):
    """Vectors and anything that flattens to them.

    PacGAN's toy networks are `width=400, depth=2, d_width=200, d_depth=1,
    d_activation="maxout", init="normal"`.

    Args:
        width: units of a hidden layer.
        depth: hidden layers.
        activation: of G's hidden layers; LeakyReLU's slope is 0.2.
        g_norm: batch norm in G's hidden layers, or none.
        d_width: units of D's hidden layers; G's where not given.
        d_depth: D's hidden layers; G's where not given.
        d_activation: of D's hidden layers.
        pieces: linear maps of a maxout unit.
        dropout: share of D's hidden units that is dropped.
        init: "uniform" in 1/sqrt(inputs), PyTorch's own, or "normal" N(0, .02^2).
        conditioning: how the class enters.
    """

    dims = (0, 1, 2, 3)

    def __init__(
        self,
        width: int = 256,
        depth: int = 2,
        activation: Activation = "relu",
        g_norm: Literal["none", "batch"] = "none",
        d_width: int | None = None,
        d_depth: int | None = None,
        d_activation: Activation = "lrelu",
        pieces: int = 5,
        dropout: float = 0.0,
        init: Literal["uniform", "normal"] = "uniform",
        conditioning: Conditioning = "concat",
    ) -> None:
        self.width, self.depth, self.g_norm = width, depth, g_norm
        self.activation: Activation = activation
        self.d_activation: Activation = d_activation
        self.d_width = width if d_width is None else d_width
        self.d_depth = depth if d_depth is None else d_depth
        self.pieces, self.dropout, self.init = pieces, dropout, init
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        self.space(shape, "generator")
        norm = None if self.g_norm == "none" else "batch"
        hidden = self._hidden(latent + classes, self.width, self.depth, self.activation, norm)
        body = nn.Sequential(*hidden, *self._ends(latent + classes, shape))
        return self._initialised(Generator(body, classes))

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        self.space(shape, "critic")
        kind = normalisation(norm, None)
        inputs = math.prod(shape) + joined_classes(classes, self.conditioning)
        hidden = self._hidden(
            inputs, self.d_width, self.d_depth, self.d_activation, kind, self.dropout
        )
        trunk = nn.Sequential(_Flatten(), *hidden)
        width = self.d_width if self.d_depth else inputs
        net = Critic(trunk, width, classes, self.conditioning, heads, join=_join)
        return self._initialised(net)

    def autoencoder(self, shape: tuple[int, ...], code: int | None = None) -> nn.Module:
        self.space(shape, "autoencoder")
        n = math.prod(shape)
        code = code or max(1, min(self.width, n // 2))
        hidden = self._hidden(n, self.width, self.depth, self.activation, None)
        last = nn.Linear(self.width if self.depth else n, code)
        encoder = nn.Sequential(_Flatten(), *hidden, last)
        hidden = self._hidden(code, self.width, self.depth, self.activation, None)
        decoder = nn.Sequential(*hidden, *self._ends(code, shape))
        return self._initialised(Autoencoder(encoder, decoder))

    def _hidden(
        self,
        inputs: int,
        width: int,
        depth: int,
        activation: Activation,
        norm: str | None,
        dropout: float = 0.0,
    ) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for _ in range(depth):
            if activation == "maxout":
                layers.append(Maxout(inputs, width, self.pieces))
            else:
                layers.append(nn.Linear(inputs, width))
            if norm is not None:
                layers.append(BatchNorm(width) if norm == "batch" else normal_layer(norm, width))
            if activation != "maxout":
                relu = nn.ReLU(True) if activation == "relu" else nn.LeakyReLU(0.2, True)
                layers.append(relu)
            if dropout:
                layers.append(Dropout(dropout))
            inputs = width
        return layers

    def _ends(self, inputs: int, shape: tuple[int, ...]) -> list[nn.Module]:
        last = nn.Linear(self.width if self.depth else inputs, math.prod(shape))
        # Densities of vectors live anywhere; pictures and sound in [-1, 1].
        return [last] if len(shape) == 1 else [last, nn.Tanh(), _Shape(shape)]

    def _initialised(self, net: nn.Module) -> nn.Module:
        if self.init == "normal":
            init_normal(net)
        return net
