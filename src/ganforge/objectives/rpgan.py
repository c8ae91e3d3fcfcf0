"""Relativistic pairs with R1 and R2. Jolicoeur-Martineau 2018, arXiv 1807.00734; Huang et al.
2024 (R3GAN), arXiv 2501.05441."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Terms, TwoPlayer, per_sample, require, squared_slopes
from ganforge.spec import Batch


class RpGAN(TwoPlayer):
    """D: E softplus(D(G(z)) - D(x)) + gamma/2 (E_x ||grad D(x)||^2 + E_z ||grad D(G(z))||^2);
    G: E softplus(D(x) - D(G(z))). Row i of a batch is the pair (x_i, G(z_i)).

    Args:
        gamma: weight of both penalties at the start.
        gamma_end: and at the end of the horizon, reached by a cosine; None keeps it.
    """

    holds = "R1, R2"
    per_sample = True

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        gamma: float = 1.0,
        gamma_end: float | None = None,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        self.gamma, self.gamma_end = gamma, gamma if gamma_end is None else gamma_end
        fits = min(self.gamma, self.gamma_end) >= 0
        require(fits, f"gamma={gamma}, gamma_end={gamma_end} does not fit; use 0 or more")

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        real, fake, half = self.on_real(nets, b), self.on_fake(nets, b), self.weight / 2
        return {
            "adv": softplus(fake - real).mean(),
            "r1": half * squared_slopes(real, b.real).mean(),
            "r2": half * squared_slopes(fake, self.fake(nets, b)).mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        with torch.no_grad():  # reals do not depend on G
            real = self.on_real(nets, b)
        return {"adv": softplus(real - self.on_fake(nets, b)).mean()}

    @property
    def weight(self) -> float:
        """gamma, now."""
        swing = (1 + math.cos(math.pi * self.progress)) / 2
        return self.gamma_end + (self.gamma - self.gamma_end) * swing

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        """Only differences mean something: each score against the mean of the other side."""
        if not {"D(x)", "D(G(z))"} <= batch.memo.keys():
            return {}
        real = per_sample(batch.memo["D(x)"]["score"].detach())
        fake = per_sample(batch.memo["D(G(z))"]["score"].detach())
        return {
            "D(x)": (real - fake.mean()).sigmoid(),
            "D(G(z))": (fake - real.mean()).sigmoid(),
        }
