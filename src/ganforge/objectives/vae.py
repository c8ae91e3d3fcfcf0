"""Auto-Encoding Variational Bayes. Kingma and Welling 2013, arXiv 1312.6114."""

from __future__ import annotations

from torch import nn

from ganforge import draws
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Objective, Player, Terms
from ganforge.spec import Batch, Spec


class VAE(Objective):
    """-E_q log p(x | z) + KL(q(z | x) || N(0, I)), with p a Gaussian of variance `variance`
    around G(z), per dimension of x.

    Args:
        variance: of the decoder; lower is sharper and covers less.
    """

    def __init__(self, latent: Latent | None = None, variance: float = 0.05) -> None:
        super().__init__()
        self.latent, self.variance = latent or Latent(), variance

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        assert self.latent is not None
        width = self.latent.width
        return nn.ModuleDict(
            {
                "E": family.critic(spec.shape, heads={"mean": width, "log_var": width}, norm=None),
                "G": family.generator(width, spec.shape, spec.classes),
            }
        )

    def players(self) -> list[Player]:
        return [Player("G", ("E", "G"), self.loss)]

    def loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        said = nets["E"].outputs(b.real)
        mean, log_var = said["mean"], said["log_var"].clamp(-10, 10)
        noise = draws.normal(*mean.shape, device=mean.device)
        x = nets["G"](mean + (log_var / 2).exp() * noise, b.label)
        n = b.real[0].numel()
        error = (x - b.real).square().flatten(1).sum(1).mean() / (2 * self.variance)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
        return {"rec": error / n, "kl": kl / n}
