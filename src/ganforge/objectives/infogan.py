"""InfoGAN. Chen et al. 2016, arXiv 1606.03657."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganforge.errors import UserError
from ganforge.objectives.gan import GAN
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Terms
from ganforge.spec import Batch, Spec


class InfoGAN(GAN):
    """min_{G,Q} max_D V(D, G) - lambda L_I, L_I = E log Q(c | G(z, c)) + H(c) <= I(c; G(z, c)).

    Q shares D's trunk: a head of class scores for each categorical code, and a mean and a
    log-variance for each continuous one. Both players move towards a greater L_I, D for its
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
        self.codes, self.info, self.info_continuous = latent, info, info_continuous

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        heads = {f"category{i}": k for i, k in enumerate(self.codes.categorical)}
        if self.codes.continuous:
            heads["continuous"] = 2 * self.codes.continuous
        return family.critic(spec.shape, spec.classes, heads, norm=self.critic_norm)

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return super().d_loss(nets, b) | self.information(nets, b)

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return super().g_loss(nets, b) | self.information(nets, b)

    def information(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        """-lambda E log Q(c | G(z, c)), without the constant H(c)."""
        said, z = self.judge_fake(nets, b), self.latents(b)
        assert z is not None
        terms: Terms = {}
        for i, c in enumerate(self.codes.categories(z)):
            terms[f"code{i}"] = self.info * cross_entropy(said[f"category{i}"], c.argmax(1))
        if self.codes.continuous:
            mean, log_var = said["continuous"].chunk(2, 1)
            terms["continuous"] = self.info_continuous * gaussian(
                self.codes.codes(z), mean, log_var
            )
        return terms

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        """With L_I of the first categorical code, at most its entropy ln K, in nats."""
        found = super().readings(batch)
        said, z = batch.memo.get("D(G(z))"), batch.memo.get("latents")
        if said is not None and z is not None and self.codes.categorical:
            c = self.codes.categories(z)[0].argmax(1)
            log_q = -cross_entropy(said["category0"].detach(), c, reduction="none")
            found["L_I"] = log_q.mean().view(1) + math.log(self.codes.categorical[0])
        return found


def gaussian(c: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log N(c; mean, var), its mean over the batch, summed over codes. The log-variance is
    bounded from below: a continuous code's information has no bound."""
    log_var = log_var.clamp(-4.0, 4.0)
    nll = 0.5 * (log_var + (c - mean).square() / log_var.exp() + math.log(2 * math.pi))
    return nll.sum(1).mean()
