"""A plain autoencoder as a generator: the baseline without an adversary (Hinton and
Salakhutdinov 2006, Science 313)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import (
    Family,
    Objective,
    Player,
    Terms,
    outputs,
    over_processes,
    require,
)
from ganforge.spec import Ask, Batch, Spec


class AE(Objective):
    """E |x - G(E(x))|, the mean over components. E is a critic's trunk with the code as a head.

    Samples decode codes drawn from a Gaussian with the running mean and covariance of the
    training codes, the simplest density that makes an autoencoder a generator (Ghosh et al.
    2019, arXiv 1903.12436).

    Args:
        momentum: of the running moments, after a first pass of 1 / momentum batches.
    """

    from_source = False
    alone = True

    def __init__(self, latent: Latent | None = None, momentum: float = 0.01) -> None:
        super().__init__()
        require(0 < momentum <= 1, f"momentum={momentum} does not fit; use 0.01 or so")
        self.latent, self.momentum = gaussian(latent, "ae"), momentum
        width = self.latent.width
        self.mean: Tensor
        self.square: Tensor
        self.root: Tensor
        self.count: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("square", torch.eye(width))
        self.register_buffer("root", torch.eye(width))
        self.register_buffer("count", torch.zeros(()))

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        return coder(family, spec, self.latent, "code")

    def players(self) -> list[Player]:
        return [Player("G", ("E", "G"), self.loss)]

    def loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        code = outputs(nets["E"], b.real, b.label)["code"]
        self.follow(code)
        return {"rec": (nets["G"](code, b.label) - b.real).abs().mean()}

    def sample(self, nets: nn.ModuleDict, ask: Ask) -> Tensor:
        assert ask.latent is not None
        return nets["G"](self.mean + ask.latent @ self.root.T, ask.label)

    @torch.no_grad()
    def follow(self, code: Tensor) -> None:
        """The moments of the codes follow this batch's, and `root` the square root of their
        covariance (Cholesky's, a little widened so that it exists)."""
        self.count += 1
        weight = (1 / self.count).clamp(min=self.momentum)
        code = code.to(self.mean.dtype)
        self.mean.lerp_(over_processes(code.mean(0)), weight)
        with torch.autocast(code.device.type, enabled=False):
            self.square.lerp_(over_processes(code.T @ code / len(code)), weight)
        covariance = self.square - self.mean.outer(self.mean)
        covariance.diagonal().mul_(1.0001).add_(1e-8)
        root, failed = torch.linalg.cholesky_ex(covariance)
        self.root.copy_(torch.where(failed > 0, self.root, root))


def gaussian(latent: Latent | None, who: str) -> Latent:
    """The latent, which has to be normal and without codes where it stands for an encoder's."""
    latent = latent or Latent()
    require(
        latent.kind == "normal" and latent.width == latent.size,
        f"{who} draws its code from a Gaussian; use --set latent.kind=normal and no other codes",
    )
    return latent


def coder(family: Family, spec: Spec, latent: Latent | None, *heads: str) -> nn.ModuleDict:
    """An encoder E, the family's critic with these heads, and a decoder G, its generator."""
    assert latent is not None
    width = latent.width
    sizes = dict.fromkeys(heads, width)
    return nn.ModuleDict(
        {
            "E": family.critic(spec.shape, spec.classes, sizes, norm=None),
            "G": family.generator(width, spec.shape, spec.classes),
        }
    )
