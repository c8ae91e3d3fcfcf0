"""Energy-based Generative Adversarial Network. Zhao, Mathieu and LeCun 2016, arXiv 1609.03126."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import relu

from ganforge.objectives.energy import Energy
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Terms, TwoPlayer, require
from ganforge.objectives.terms import pulling_away
from ganforge.spec import Batch, Spec


class EBGAN(TwoPlayer):
    """D is an autoencoder, a sample's energy its error: D(x) = ||Dec(Enc(x)) - x||.
    D: E_x D(x) + E_z max(0, m - D(G(z))); G: E_z D(G(z)) (+ weight f_PT of its codes).

    Args:
        margin: m, the energy that forgeries are pushed up to. Not given, it is the paper's 10
            on MNIST, by the error per component: 10 sqrt(components / 784), which on 64 x 64
            RGB lies between the paper's 20 (faces) and 80 (bedrooms).
        pulling_away: weight of the pulling-away term (0.1 in the paper), on G's codes.
    """

    labels = "ignored"

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        margin: float | None = None,
        pulling_away: float = 0.0,
    ) -> None:
        super().__init__(latent, d_steps)
        require(margin is None or margin > 0, f"margin={margin} does not fit; use one above 0")
        require(pulling_away >= 0, f"pulling_away={pulling_away} does not fit; use 0 or more")
        self.margin, self.pulling_away = margin, pulling_away

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        return Energy(family.autoencoder(self.judged(spec)), norm_of_error)

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        margin = self.margin or 10 * math.sqrt(b.real[0].numel() / 784)
        return {
            "real": self.on_real(nets, b).mean(),
            "fake": relu(margin - self.on_fake(nets, b)).mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        terms = {"adv": self.on_fake(nets, b).mean()}
        if self.pulling_away:
            codes = self.judge_fake(nets, b)["features"]
            terms["pull"] = self.pulling_away * pulling_away(codes)
        return terms

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score


def norm_of_error(said: Tensor, x: Tensor) -> Tensor:
    """||x' - x||_2 of each sample, (N,); the epsilon keeps its slope finite at 0."""
    return ((said - x).flatten(1).square().sum(1) + 1e-12).sqrt()
