"""Improved Training of Wasserstein GANs. Gulrajani et al. 2017, arXiv 1704.00028."""

from __future__ import annotations

from torch import Tensor, nn

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Terms, TwoPlayer, require
from ganforge.objectives.terms import interpolated_slopes
from ganforge.spec import Batch


class WGANGP(TwoPlayer):
    """WGAN with lambda E (||grad D(x^)|| - 1)^2 at x^ = e x + (1 - e) G(z), e ~ U(0, 1), in
    place of clipping (their Algorithm 1).

    Args:
        gp: lambda.
    """

    holds = "gradient penalty"
    per_sample = True

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 5,
        d_norm: str | None = "family",
        gp: float = 10.0,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        require(gp >= 0, f"gp={gp} does not fit; use a weight of 0 or more, such as 10")
        self.gp = gp

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {
            "real": -self.on_real(nets, b).mean(),
            "fake": self.on_fake(nets, b).mean(),
            "gp": self.gp * (interpolated_slopes(self, nets, b) - 1).square().mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -self.on_fake(nets, b).mean()}

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score
