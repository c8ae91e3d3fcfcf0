"""Auxiliary Classifier GAN. Odena, Olah and Shlens 2016, arXiv 1610.09585."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganforge.errors import UserError
from ganforge.objectives.gan import GAN
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Terms, outputs, require
from ganforge.spec import Batch, Spec


class ACGAN(GAN):
    """L_S = E log P(real | x) + E log P(fake | G), L_C = E log P(c | x) + E log P(c | G).
    D maximises L_S + L_C, G maximises L_C - L_S. D does not see the class, it says it.

    Args:
        aux: weight of L_C for D.
        aux_g: weight of L_C for G.
        saturating: G minimises log P(fake | G), as -L_S reads; else it maximises log P(real | G).
    """

    labels = "needed"

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        aux: float = 1.0,
        aux_g: float = 1.0,
        saturating: bool = False,
    ) -> None:
        super().__init__(latent, d_steps, d_norm, saturating)
        fits = min(aux, aux_g) >= 0
        require(fits, f"aux={aux}, aux_g={aux_g} does not fit; use weights of 0 or more")
        self.aux, self.aux_g = aux, aux_g

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        if not spec.classes:
            raise UserError("acgan needs classes: use --set conditioning=concat and labelled data")
        return family.critic(
            self.judged(spec), heads={"class": spec.classes}, norm=self.critic_norm
        )

    def judge(self, nets: nn.ModuleDict, x: Tensor, b: Batch) -> dict[str, Tensor]:
        return outputs(nets["D"], self.seen(x, b))

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        assert b.label is not None
        return super().d_loss(nets, b) | {
            "class": self.aux * cross_entropy(self.judge_real(nets, b)["class"], b.label),
            "class_fake": self.aux * cross_entropy(self.judge_fake(nets, b)["class"], b.label),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        assert b.label is not None
        return super().g_loss(nets, b) | {
            "class": self.aux_g * cross_entropy(self.judge_fake(nets, b)["class"], b.label)
        }
