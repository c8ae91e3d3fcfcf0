"""Generative Adversarial Nets. Goodfellow et al. 2014, arXiv 1406.2661."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import softplus

from ganforge import draws
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Terms, TwoPlayer, per_sample, require
from ganforge.spec import Batch


class GAN(TwoPlayer):
    """min_G max_D V(D, G) = E_x log D(x) + E_z log(1 - D(G(z))), with D the sigmoid of a score.

    Args:
        saturating: G minimises log(1 - D(G(z))), the minimax game; else it maximises
            log D(G(z)), whose gradient does not vanish where D is sure.
        label_noise: D's targets are moved inward by U(0, label_noise) for each sample.
    """

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        saturating: bool = False,
        label_noise: float = 0.0,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        fits = 0 <= label_noise <= 1
        require(fits, f"label_noise={label_noise} does not fit; use a share such as 0.1")
        self.saturating, self.label_noise = saturating, label_noise

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        real, fake = self.on_real(nets, b), self.on_fake(nets, b)
        return {
            "real": softplus(-real).mean() + self._moved(real),
            "fake": softplus(fake).mean() + self._moved(-fake),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        fake = self.on_fake(nets, b)
        return {"adv": -softplus(fake).mean() if self.saturating else softplus(-fake).mean()}

    def _moved(self, score: Tensor) -> Tensor | float:
        """What a target 1 - u, u ~ U(0, label_noise), adds to softplus(-score)."""
        if not self.label_noise:
            return 0.0
        u = draws.uniform(len(score), device=score.device).mul_(self.label_noise)
        return (u * per_sample(score)).mean()
