"""The hinge loss. Lim and Ye 2017, arXiv 1705.02894; as SNGAN (Miyato et al. 2018, arXiv
1802.05957) and BigGAN (Brock et al. 2018, arXiv 1809.11096) use it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from ganforge.objectives.objective import Terms, TwoPlayer
from ganforge.spec import Batch


class Hinge(TwoPlayer):
    """D: E_x max(0, 1 - D(x)) + E_z max(0, 1 + D(G(z))); G: -E_z D(G(z))."""

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {
            "real": relu(1 - self.on_real(nets, b)).mean(),
            "fake": relu(1 + self.on_fake(nets, b)).mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -self.on_fake(nets, b).mean()}

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score
