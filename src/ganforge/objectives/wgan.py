"""Wasserstein GAN. Arjovsky, Chintala and Bottou 2017, arXiv 1701.07875."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Terms, TwoPlayer, require
from ganforge.spec import Batch


class WGAN(TwoPlayer):
    """D maximises E_x D(x) - E_z D(G(z)) over functions that weight clipping keeps Lipschitz;
    G maximises E_z D(G(z)).

    Args:
        clip: after each move every weight of D is put back into [-clip, clip].
    """

    holds = "clipped weights"

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 5,
        d_norm: str | None = "family",
        clip: float = 0.01,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        require(clip > 0, f"clip={clip} does not fit; use a bound above 0, such as 0.01")
        self.clip = clip

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"real": -self.on_real(nets, b).mean(), "fake": self.on_fake(nets, b).mean()}

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -self.on_fake(nets, b).mean()}

    @torch.no_grad()
    def after_d(self, nets: nn.ModuleDict, terms: Terms) -> None:
        torch._foreach_clamp_min_(list(nets["D"].parameters()), -self.clip)
        torch._foreach_clamp_max_(list(nets["D"].parameters()), self.clip)

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score
