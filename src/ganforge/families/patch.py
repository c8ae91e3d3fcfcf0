"""PatchGAN, the critic of pix2pix (Isola et al. 2017, arXiv 1611.07004; Li and Wand 2016,
arXiv 1604.04382): one score for each patch, none for the whole."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.families.base import Conditioning, Critic, Family, joined_classes
from ganforge.families.blocks import (
    conv,
    deconv,
    halvings,
    init_normal,
    init_scaled,
    normal_layer,
    normalisation,
    up,
)


class Patches(nn.Module):
    """Strided 4x4 convolutions, then one of stride 1: (N, channels, *space) to maps whose
    every place has seen one patch."""

    def __init__(
        self, dims: int, channels: int, width: int, strided: int, norm: str | None
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for i in range(strided + 1):
            outputs, kind = width * min(2**i, 8), norm if i else None
            stride = 2 if i < strided else 1
            layers += [conv(dims, inputs, outputs, 4, stride, 1, bias=kind is None)]
            layers += [normal_layer(kind, outputs), nn.LeakyReLU(0.2, True)]
            inputs = outputs
        self.features = inputs
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class PatchCritic(Critic):
    """D(x, y) -> (N, patches). Its features are the mean over patches."""

    def __init__(
        self,
        trunk: Patches,
        dims: int,
        classes: int,
        conditioning: Conditioning,
        heads: Mapping[str, int] | None,
    ) -> None:
        super().__init__(trunk, trunk.features, classes, conditioning, heads)
        self.score = conv(dims, trunk.features, 1, 4, 1, 1)

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """{"score": (N, patches), "features": (N, F), head: (N, k) ...}"""
        maps = self.trunk(self.joined(x, y))
        phi = maps.flatten(2).mean(2)
        heads = {k: head(phi) for k, head in self.heads.items()}
        return {"score": self.judge(maps, y), "features": phi} | heads

    def judge(self, phi: Tensor, y: Tensor | None) -> Tensor:
        """The scores (N, patches) of maps (N, F, *space)."""
        score = self.score(phi).flatten(1)
        if self.embed is None:
            return score
        return score + (self.embed(y) * phi.flatten(2).mean(2)).sum(1, keepdim=True)


class Grow(nn.Module):
    """Maps twice as large: by linear interpolation and a 3x3 convolution, which leaves no
    checkerboard behind as a strided convolution run backwards does (Odena, Dumoulin, Olah 2016,
    Deconvolution and Checkerboard Artifacts)."""

    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(dims, inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(up(x, [2 * side for side in x.shape[2:]], "linear"))


def grow(dims: int, inputs: int, outputs: int, resize: bool) -> nn.Module:
    """What doubles maps: `Grow`, or as the papers had it a strided 4x4 convolution backwards."""
    if resize:
        return Grow(dims, inputs, outputs)
    return deconv(inputs, outputs, 4, 2, ([1] * dims, [2] * dims))


class WithPatches(Family):
    """A family of translators, whose critic is a PatchGAN.

    Attributes:
        width: channels of the translator, and of the critic where `critic_width` is None.
        critic_width: channels of the critic.
        patch: strided convolutions of the critic; see `Patch`.
        conditioning: how the class enters the critic.
    """

    width: int
    critic_width: int | None
    patch: int
    conditioning: Conditioning

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        judges = Patch(self.critic_width or self.width, self.patch, self.conditioning)
        return judges.critic(shape, classes, heads, norm)

    def keeps_size(self, source: tuple[int, ...], shape: tuple[int, ...]) -> None:
        """Raises: UserError: source and sample are not of one size."""
        if source[1:] != shape[1:]:
            raise UserError(
                f"family {self.title()!r} keeps the size, but is asked to turn {source} into "
                f"{shape}; use --set family=srresnet to enlarge"
            )


class Patch(Family):
    """Critics of sides of 8 or more, in 1, 2 or 3 dimensions.

    Args:
        width: channels after the first convolution; they double, up to 8 times.
        layers: strided convolutions at most: 3 makes patches of 70x70, 2 of 34x34, 1 of
            16x16. Small samples get fewer, so that at least 2x2 patches remain.
        conditioning: how the class enters.
    """

    def __init__(
        self, width: int = 64, layers: int = 3, conditioning: Conditioning = "concat"
    ) -> None:
        self.width, self.layers = width, layers
        self.conditioning: Conditioning = conditioning

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        space = self.space(shape, "critic", 8)
        kind = normalisation(norm, "batch")
        strided = min(self.layers, len(halvings(space, 4)) - 1)
        channels = shape[0] + joined_classes(classes, self.conditioning)
        trunk = Patches(len(space), channels, self.width, strided, kind)
        net = PatchCritic(trunk, len(space), classes, self.conditioning, heads)
        init_normal(net) if kind == "batch" else init_scaled(net)
        return net
