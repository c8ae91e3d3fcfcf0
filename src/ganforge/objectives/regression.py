"""A translator without an adversary: the baseline that a conditional GAN is to beat, and the
first stage of SRGAN (Ledig et al. 2017, arXiv 1609.04802)."""

from __future__ import annotations

from torch import nn

from ganforge.errors import UserError
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Objective, Player, Terms
from ganforge.spec import Batch, Spec


class Regression(Objective):
    """min_G of its terms alone: l1, charbonnier, perceptual."""

    labels = "ignored"
    alone = True

    def __init__(self, latent: Latent | None = None) -> None:
        super().__init__()  # it starts from a source, so it has no latent

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        if spec.source is None:
            raise UserError(
                "regression starts from a source, and these data have none; say which, such as "
                "--set degrade=noise:25"
            )
        if not self.terms.get("G"):
            raise UserError("regression has no loss but its terms; add one, such as --add l1=1")
        return nn.ModuleDict({"G": family.translator(spec.source, spec.shape)})

    def players(self) -> list[Player]:
        return [Player("G", ("G",), self.loss)]

    def loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {}
