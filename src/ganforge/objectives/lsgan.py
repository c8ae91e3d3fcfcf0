"""Least Squares Generative Adversarial Networks. Mao et al. 2016, arXiv 1611.04076."""

from __future__ import annotations

from torch import Tensor, nn

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Terms, TwoPlayer
from ganforge.spec import Batch


class LSGAN(TwoPlayer):
    """D: 1/2 E_x (D(x) - b)^2 + 1/2 E_z (D(G(z)) - a)^2; G: 1/2 E_z (D(G(z)) - c)^2.

    Args:
        a: D's target for forgeries.
        b: D's target for reals.
        c: what G wants D to say of forgeries. (-1, 1, 0) minimises Pearson's chi-squared.
    """

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        a: float = 0.0,
        b: float = 1.0,
        c: float = 1.0,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        self.a, self.b, self.c = a, b, c

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {
            "real": (self.on_real(nets, b) - self.b).square().mean() / 2,
            "fake": (self.on_fake(nets, b) - self.a).square().mean() / 2,
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": (self.on_fake(nets, b) - self.c).square().mean() / 2}

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score
