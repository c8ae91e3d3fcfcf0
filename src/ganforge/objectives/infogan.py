"""InfoGAN. Chen et al. 2016, arXiv 1606.03657."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import softplus

from ganforge.errors import UserError
from ganforge.objectives.gan import GAN
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Terms, require
from ganforge.spec import Batch, Spec


class InfoGAN(GAN):
    """min_{G,Q} max_D V(D, G) - lambda L_I, L_I = E log Q(c | G(z, c)) + H(c) <= I(c; G(z, c)).

    Q shares D's trunk: a head of class scores for each categorical code, and a mean and a
    variance for each continuous one. Both players move towards a greater L_I, D for its
    trunk and heads (as in the authors' code), G for its samples.

    Args:
        info: lambda of the categorical codes.
        info_continuous: lambda of the continuous ones.
    """

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        info: float = 1.0,
        info_continuous: float = 0.1,
    ) -> None:
        latent = latent or Latent(62, categorical=(10,), continuous=2)
        super().__init__(latent, d_steps, d_norm)
        if not (latent.categorical or latent.continuous):
            raise UserError(
                "infogan needs codes; use --set latent.categorical=[10] --set latent.continuous=2"
            )
        fits = min(info, info_continuous) >= 0
        require(fits, f"info={info}, info_continuous={info_continuous} does not fit; use 0 or more")
        self.codes, self.info, self.info_continuous = latent, info, info_continuous

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        heads = {f"category{i}": k for i, k in enumerate(self.codes.categorical)}
        if self.codes.continuous:
            heads["continuous"] = 2 * self.codes.continuous
        return family.critic(self.judged(spec), spec.classes, heads, norm=self.critic_norm)

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return super().d_loss(nets, b) | self.information(nets, b)

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return super().g_loss(nets, b) | self.information(nets, b)

    def information(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        """-lambda E log Q(c | G(z, c)), without the constant H(c)."""
        log_q = self.log_q(self.judge_fake(nets, b), self.latents(b))
        weight = {"continuous": self.info_continuous}
        return {k: -weight.get(k, self.info) * v.mean() for k, v in log_q.items()}

    def log_q(self, said: dict[str, Tensor], z: Tensor | None) -> dict[str, Tensor]:
        """log Q(c | x) of each sample (N,), for each categorical code and all continuous ones."""
        assert z is not None
        found: dict[str, Tensor] = {}
        for i, c in enumerate(self.codes.categories(z)):
            found[f"code{i}"] = (said[f"category{i}"].log_softmax(1) * c).sum(1)
        if self.codes.continuous:
            found["continuous"] = gaussian(self.codes.codes(z), *said["continuous"].chunk(2, 1))
        return found

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        """With L_I of each categorical code in nats, at most its entropy ln K."""
        found = super().readings(batch)
        if "D(G(z))" in batch.memo:
            log_q = self.log_q(batch.memo["D(G(z))"], self.latents(batch))
            for i, k in enumerate(self.codes.categorical):
                found[f"L_I/{i}"] = log_q[f"code{i}"].detach() + math.log(k)
        return found


def gaussian(c: Tensor, mean: Tensor, raw: Tensor) -> Tensor:
    """log N(c; mean, softplus(raw) + 0.01), summed over codes, (N,). The variance is bounded
    from below, for the information of a continuous code has no bound."""
    variance = softplus(raw) + 0.01
    nll = (c - mean).square() / variance + variance.log() + math.log(2 * math.pi)
    return -0.5 * nll.sum(1)
