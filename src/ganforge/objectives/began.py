"""Boundary Equilibrium GAN. Berthelot, Schumm and Metz 2017, arXiv 1703.10717."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ganforge.objectives.energy import Energy
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Player, Terms, TwoPlayer, require
from ganforge.spec import Batch, Spec


class BEGAN(TwoPlayer):
    """L(v) = mean |v - D(v)|^eta, D an autoencoder. D: L(x) - k_t L(G(z)); G: L(G(z));
    k_{t+1} = clip(k_t + lambda_k (gamma L(x) - L(G(z))), 0, 1).

    The measure M = L(x) + |gamma L(x) - L(G(z))| falls as samples improve.

    Args:
        gamma: the balance E L(G(z)) / E L(x); lower is sharper and less varied.
        lambda_k: how quickly k follows.
        eta: 1 for absolute, 2 for squared errors.
        code: width of D's code; not given, the latent's, at most half of the data's.
    """

    labels = "ignored"

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        gamma: float = 0.5,
        lambda_k: float = 1e-3,
        eta: float = 1.0,
        code: int | None = None,
    ) -> None:
        super().__init__(latent, d_steps)
        require(0 <= gamma <= 1, f"gamma={gamma} does not fit; use 0 to 1, such as 0.5")
        require(lambda_k >= 0, f"lambda_k={lambda_k} does not fit; use 0 or more")
        require(eta in (1, 2), f"eta={eta} does not fit; use 1 or 2")
        self.gamma, self.lambda_k, self.eta, self.code = gamma, lambda_k, eta, code
        self.k: Tensor
        self.real: Tensor
        self.measure: Tensor
        for name in ("k", "real", "measure"):
            self.register_buffer(name, torch.zeros(()))

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        assert self.latent is not None
        # A code as wide as the data would copy anything, and every energy would be 0.
        code = self.code or max(1, min(self.latent.width, math.prod(spec.shape) // 2))
        return Energy(
            family.autoencoder(self.judged(spec), code), partial(mean_error, power=self.eta)
        )

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {
            "real": self.on_real(nets, b).mean(),
            "fake": -self.k * self.on_fake(nets, b).mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": self.on_fake(nets, b).mean()}

    def players(self) -> list[Player]:
        d, g = super().players()
        return [d, replace(g, after=self.after_g)]

    def after_d(self, nets: nn.ModuleDict, terms: Terms) -> None:
        self.real.copy_(terms["real"])

    def after_g(self, nets: nn.ModuleDict, terms: Terms) -> None:
        """Both terms are averages over all processes, so k is the same on each."""
        balance = self.gamma * self.real - terms["adv"]
        self.measure.copy_(self.real + balance.abs())
        self.k.add_(self.lambda_k * balance).clamp_(0, 1)

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        return super().readings(batch) | {"M": self.measure.view(1), "k": self.k.view(1)}

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score


def mean_error(said: Tensor, x: Tensor, power: float = 1) -> Tensor:
    """mean |x' - x|^power over the components of each sample, (N,)."""
    error = (said - x).abs().flatten(1)
    return (error if power == 1 else error.pow(power)).mean(1)
