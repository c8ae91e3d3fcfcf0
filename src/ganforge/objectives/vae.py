"""Auto-Encoding Variational Bayes. Kingma and Welling 2013, arXiv 1312.6114."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganforge import draws
from ganforge.objectives.ae import coder, gaussian
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import (
    Family,
    Objective,
    Player,
    Terms,
    outputs,
    over_processes,
    require,
)
from ganforge.spec import Batch, Spec


class VAE(Objective):
    """-ELBO = -E_q log N(x; G(z), s^2) + KL(q(z | x) || N(0, I)), in nats per component of x.

    The decoder's variance s^2 is one number. Not given, it follows its optimum, the mean
    squared error (Rybkin et al. 2020, arXiv 2006.13202), so that pictures, sound and vectors
    of any scale are balanced alike. Samples are the decoder's means.

    Args:
        variance: s^2; None follows the error.
        momentum: of its running mean.
    """

    from_source = False
    alone = True

    def __init__(
        self,
        latent: Latent | None = None,
        variance: float | None = None,
        momentum: float = 0.005,
    ) -> None:
        super().__init__()
        require(variance is None or variance > 0, f"variance={variance} does not fit; use > 0")
        require(0 < momentum <= 1, f"momentum={momentum} does not fit; use 0.005 or so")
        self.latent, self.momentum = gaussian(latent, "vae"), momentum
        self.fixed = variance is not None
        self.variance: Tensor
        # Small at first: against a wide decoder nothing is worth encoding.
        self.register_buffer("variance", torch.tensor(variance or 0.01))

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        return coder(family, spec, self.latent, "mean", "spread")

    def players(self) -> list[Player]:
        return [Player("G", ("E", "G"), self.loss)]

    def loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        said = outputs(nets["E"], b.real, b.label)
        mean, std = said["mean"], softplus(said["spread"]) + 1e-4
        x = nets["G"](mean + std * draws.normal(*mean.shape, device=mean.device), b.label)
        error = (x - b.real).square().mean()
        kl = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).sum(1).mean()
        surprise = error / (2 * self.variance) + (2 * math.pi * self.variance).log() / 2
        self.follow(error)
        return {"rec": surprise, "kl": kl / b.real[0].numel()}

    @torch.no_grad()
    def follow(self, error: Tensor) -> None:
        if not self.fixed:
            now = over_processes(error).clamp(min=1e-6).to(self.variance.dtype)
            # Not in place: the loss of this move still needs the old value.
            self.variance = self.variance.lerp(now, self.momentum)
