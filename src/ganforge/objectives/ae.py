"""A plain autoencoder as a generator: the baseline without an adversary."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Objective, Player, Terms
from ganforge.spec import Ask, Batch, Spec


class AE(Objective):
    """E |x - G(E(x))|. Samples decode codes drawn from the Gaussian of the training codes'
    running mean and covariance.

    Args:
        momentum: of the running moments.
    """

    def __init__(self, latent: Latent | None = None, momentum: float = 0.01) -> None:
        super().__init__()
        self.latent, self.momentum = latent or Latent(), momentum
        width = self.latent.width
        self.mean: Tensor
        self.covariance: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        assert self.latent is not None
        width = self.latent.width
        return nn.ModuleDict(
            {
                "E": family.critic(spec.shape, heads={"code": width}, norm=None),
                "G": family.generator(width, spec.shape, spec.classes),
            }
        )

    def players(self) -> list[Player]:
        return [Player("G", ("E", "G"), self.loss)]

    def loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        code = nets["E"].outputs(b.real)["code"]
        self._follow(code.detach())
        return {"rec": (nets["G"](code, b.label) - b.real).abs().mean()}

    def sample(self, nets: nn.ModuleDict, ask: Ask) -> Tensor:
        assert ask.latent is not None
        root = torch.linalg.cholesky(
            self.covariance + 1e-4 * torch.eye(len(self.mean), device=self.mean.device)
        )
        return nets["G"](self.mean + ask.latent @ root.T, ask.label)

    @torch.no_grad()
    def _follow(self, code: Tensor) -> None:
        self.mean.lerp_(code.mean(0), self.momentum)
        centred = code - self.mean
        self.covariance.lerp_(centred.T @ centred / len(code), self.momentum)
