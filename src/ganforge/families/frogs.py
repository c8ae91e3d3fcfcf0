"""The networks of the classic book example of a small CIFAR GAN (Chollet 2017, "Deep
Learning with Python", listing 8.29 to 8.31), which made frogs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.families.base import Conditioning, Critic, Family, Generator, joined_classes
from ganforge.families.blocks import (
    Dropout,
    conv,
    deconv,
    normal_layer,
    normalisation,
    to_maps,
    to_vector,
    weights,
)

_SLOPE = 0.3  # Keras' LeakyReLU


class Synthesis(nn.Module):
    """z to half-size maps by a dense layer, then to samples (N, *shape) by convolutions."""

    def __init__(self, inputs: int, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        c, h, w = shape
        self.width, self.small = width, (h // 2, w // 2)
        self.dense = nn.Linear(inputs, width * math.prod(self.small))
        self.hidden = nn.ModuleList(
            [
                conv(2, width, 2 * width, 5),
                deconv(2 * width, 2 * width, 4, 2, (self.small, (h, w))),
                conv(2, 2 * width, 2 * width, 5),
                conv(2, 2 * width, 2 * width, 5),
            ]
        )
        self.out = conv(2, 2 * width, c, 7)

    def forward(self, z: Tensor) -> Tensor:
        x = F.leaky_relu_(to_maps(self.dense(z), self.width, self.small), _SLOPE)
        for layer in self.hidden:
            x = F.leaky_relu_(layer(x), _SLOPE)
        return self.out(x).tanh_()


class Analysis(nn.Module):
    """A 3x3 and three strided 4x4 convolutions, flattened, with dropout."""

    def __init__(
        self, channels: int, space: tuple[int, ...], width: int, dropout: float, norm: str | None
    ) -> None:
        super().__init__()
        # The book's convolutions are unpadded, which sides below 24 do not survive.
        padding = 0 if min(space) >= 24 else 1
        layers: list[nn.Module] = []
        for inputs, kernel, stride in ((channels, 3, 1), *[(width, 4, 2)] * 3):
            layers += [conv(2, inputs, width, kernel, stride, padding), normal_layer(norm, width)]
            layers += [nn.LeakyReLU(_SLOPE, True)]
            space = tuple((s + 2 * padding - kernel) // stride + 1 for s in space)
        self.layers, self.dropout = nn.Sequential(*layers), Dropout(dropout)
        self.features = width * math.prod(space)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(to_vector(self.layers(x)))


class Frogs(Family):
    """Pictures of any even sides of 8 or more.

    Args:
        width: channels of D and of G's first maps; G has twice as many later.
        dropout: share of D's features that is dropped.
        conditioning: how the class enters D; G gets it beside z.
    """

    dims = (2,)

    def __init__(
        self, width: int = 128, dropout: float = 0.4, conditioning: Conditioning = "concat"
    ) -> None:
        self.width, self.dropout = width, dropout
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        self._even(shape, "generator")
        return _initialised(Generator(Synthesis(latent + classes, shape, self.width), classes))

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        space = self._even(shape, "critic")
        kind = normalisation(norm, None)
        channels = shape[0] + joined_classes(classes, self.conditioning)
        trunk = Analysis(channels, space, self.width, self.dropout, kind)
        return _initialised(Critic(trunk, trunk.features, classes, self.conditioning, heads))

    def _even(self, shape: tuple[int, ...], method: str) -> tuple[int, ...]:
        space = self.space(shape, method, 8)
        if any(s % 2 for s in space):
            even = "x".join(str(s + s % 2) for s in space)
            raise UserError(f"family 'frogs' needs even sides, not {shape}; use --size {even}")
        return space


def _initialised(net: nn.Module) -> nn.Module:
    """As Keras does: Glorot and Bengio's uniform weights, biases 0."""
    for m in weights(net):
        nn.init.xavier_uniform_(m.weight)  # type: ignore[arg-type]
        if isinstance(m.bias, Tensor):
            nn.init.zeros_(m.bias)
    return net
