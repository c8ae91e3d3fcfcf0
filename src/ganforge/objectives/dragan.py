"""On Convergence and Stability of GANs. Kodali et al. 2017, arXiv 1705.07215."""

from __future__ import annotations

from torch import nn

from ganforge.objectives.gan import GAN
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Terms, require
from ganforge.objectives.terms import perturbed_slopes
from ganforge.spec import Batch


class DRAGAN(GAN):
    """The classical game with lambda E (||grad D(x + delta)|| - k)^2 around the data,
    delta = 1/2 std(x) U(0, 1), the noise of the authors' code.

    Args:
        gp: lambda.
        k: the slope asked for.
    """

    holds = "gradient penalty"
    per_sample = True

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        gp: float = 10.0,
        k: float = 1.0,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        require(gp >= 0, f"gp={gp} does not fit; use a weight of 0 or more, such as 10")
        self.gp, self.k = gp, k

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        terms = super().d_loss(nets, b)
        penalty = (perturbed_slopes(self, nets, b) - self.k).square().mean()
        return terms | {"gp": self.gp * penalty}
