"""Energy-based Generative Adversarial Network. Zhao, Mathieu and LeCun 2016, arXiv 1609.03126."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Terms, TwoPlayer
from ganforge.objectives.terms import pulling_away
from ganforge.spec import Batch, Spec


class EBGAN(TwoPlayer):
    """D is an autoencoder, a sample's energy its error: D(x) = ||Dec(Enc(x)) - x||.
    D: E_x D(x) + E_z max(0, m - D(G(z))); G: E_z D(G(z)) (+ weight f_PT of its codes).

    Args:
        margin: m, the energy that forgeries are pushed up to.
        pulling_away: weight of the pulling-away term (0.1 in the paper), on G's codes.
    """

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        margin: float = 10.0,
        pulling_away: float = 0.0,
    ) -> None:
        super().__init__(latent, d_steps)
        self.margin, self.pulling_away = margin, pulling_away

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        return family.autoencoder(spec.shape)

    def judge(self, nets: nn.ModuleDict, x: Tensor, b: Batch) -> dict[str, Tensor]:
        """The energy of each sample (N,)."""
        error = (nets["D"](x) - x).flatten(1).square().sum(1)
        return {"score": (error + 1e-12).sqrt()}

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {
            "real": self.on_real(nets, b).mean(),
            "fake": relu(self.margin - self.on_fake(nets, b)).mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        terms = {"adv": self.on_fake(nets, b).mean()}
        if self.pulling_away:
            codes = nets["D"].encode(self.fake(nets, b))
            terms["pull"] = self.pulling_away * pulling_away(codes)
        return terms

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score
