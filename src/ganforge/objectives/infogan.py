"""InfoGAN. Chen et al. 2016, arXiv 1606.03657."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganforge.errors import UserError
from ganforge.objectives.gan import GAN
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Player, Terms, outputs, require
from ganforge.spec import Batch, Spec


class Q(nn.Module):
    """Q(c | x) from D's features (N, F): class scores for each categorical code, and a mean and
    a raw variance for each continuous one. As published one hidden layer of 128 units; layer
    norm stands in for batch norm, so that no sample depends on its neighbours."""

    def __init__(self, features: int, categorical: tuple[int, ...], continuous: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, 128), nn.LayerNorm(128), nn.LeakyReLU(0.1))
        self.categorical = nn.ModuleList(nn.Linear(128, k) for k in categorical)
        self.continuous = nn.Linear(128, 2 * continuous) if continuous else None

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """{"category0": (N, k), ..., "continuous": (N, 2 codes)}, what there is of them."""
        x = self.body(features)
        said = {f"category{i}": head(x) for i, head in enumerate(self.categorical)}
        return said if self.continuous is None else said | {"continuous": self.continuous(x)}


class InfoGAN(GAN):
    """min_{G,Q} max_D V(D, G) - lambda L_I, L_I = E log Q(c | G(z, c)) + H(c) <= I(c; G(z, c)).

    Q reads D's features. D moves for V alone: what it looks at is what tells reals from
    forgeries, so G cannot agree with it on marks that no real sample has. (The authors' code
    moves D's layers for L_I as well.)

    Args:
        info: lambda of the categorical codes.
        info_continuous: lambda of the continuous ones.
    """

    from_source = False

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

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        nets = super().networks(family, spec)
        nets["Q"] = Q(
            features_of(nets["D"], replace(spec, classes=0) if self.auxiliary else spec),
            self.codes.categorical,
            self.codes.continuous,
        )
        return nets

    def players(self) -> list[Player]:
        d, g = super().players()
        return [d, replace(g, nets=("G", "Q"))]

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return super().g_loss(nets, b) | self.information(nets, b)

    def information(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        """-lambda E log Q(c | G(z, c)), without the constant H(c)."""
        said = nets["Q"](self.judge_fake(nets, b)["features"])
        log_q = self.log_q({k: v.float() for k, v in said.items()}, self.latents(b))
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


def features_of(d: nn.Module, spec: Spec) -> int:
    """The width F of a D's features, of samples like `spec`.

    Raises:
        UserError: this D tells its score alone.
    """
    label = torch.zeros(1, dtype=torch.int64) if spec.classes else None
    d.eval()  # statistics of batches are not to move
    with torch.no_grad():
        said = outputs(d, torch.zeros(1, *spec.shape), label)
    d.train()
    if "features" not in said:
        raise UserError(
            "infogan's Q reads what D found in a sample; let D.outputs also return "
            '"features": (N, F), or choose another objective'
        )
    return said["features"].shape[1]


def gaussian(c: Tensor, mean: Tensor, raw: Tensor) -> Tensor:
    """log N(c; mean, softplus(raw) + 0.01), summed over codes, (N,). The variance is bounded
    from below, for the information of a continuous code has no bound."""
    variance = softplus(raw) + 0.01
    nll = (c - mean).square() / variance + variance.log() + math.log(2 * math.pi)
    return -0.5 * nll.sum(1)
