"""Contrastive Learning for Unpaired Image-to-Image Translation. Park et al. 2020, arXiv
2007.15651."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge import draws
from ganforge.errors import UserError
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Player, Terms, TwoPlayer, require
from ganforge.spec import Batch, Spec


class Projections(nn.Module):
    """Two linear layers for each of G's maps, to unit vectors: (N, places, C) to
    (N, places, width)."""

    def __init__(self, channels: list[int], width: int = 256) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)) for c in channels
        )
        for p in self.parameters():
            nn.init.normal_(p, 0, 0.02) if p.dim() > 1 else nn.init.zeros_(p)

    def forward(self, i: int, x: Tensor) -> Tensor:
        return F.normalize(self.layers[i](x), dim=-1)


class CUT(TwoPlayer):
    """One translator G and one critic D, least squares, and H, which compares patches: what G
    makes at a place has to resemble the source at that place more than at any other.

        D: 1/2 E_x (D(x) - 1)^2 + 1/2 E_s D(G(s))^2
        G, H: E_s (D(G(s)) - 1)^2 + nce/2 (PatchNCE(G(s), s) + PatchNCE(G(x), x))

    Args:
        nce: weight of the contrastive terms.
        tau: their temperature.
        patches: places of each map that are compared.
    """

    def __init__(
        self,
        latent: Latent | None = None,
        d_steps: int = 1,
        d_norm: str | None = "family",
        nce: float = 1.0,
        tau: float = 0.07,
        patches: int = 64,
    ) -> None:
        super().__init__(latent, d_steps, d_norm)
        require(nce >= 0 and tau > 0 and patches > 1, f"nce={nce}, tau={tau}, patches={patches}: "
                "use a weight of 0 or more, a temperature above 0, and 2 places or more")  # fmt: skip
        self.nce, self.tau, self.patches = nce, tau, patches

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        if spec.source is None or spec.source != spec.shape:
            raise UserError(
                f"cut translates between samples of one shape; the sources are {spec.source}, the "
                f"samples {spec.shape}: say --set inputs=SOURCE, and --channels if they differ"
            )
        nets = super().networks(family, spec)
        if not hasattr(nets["G"], "maps"):
            raise UserError(
                "cut compares maps inside of the translator, which this family does not give; use "
                "--set family=johnson or unet"
            )
        with torch.no_grad():
            x = torch.zeros(1, *spec.source)
            channels = [m.shape[1] for m in self.maps(nets, x)]
        nets["H"] = Projections(channels)
        return nets

    def players(self) -> list[Player]:
        return [
            Player("D", ("D",), self.d_loss, steps=self.d_steps),
            Player("G", ("G", "H"), self.g_loss),
        ]

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {
            "real": (self.on_real(nets, b) - 1).square().mean() / 2,
            "fake": self.on_fake(nets, b).square().mean() / 2,
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        assert b.source is not None
        fake = self.fake(nets, b)
        real = b.real.detach()
        return {
            "adv": (self.on_fake(nets, b) - 1).square().mean(),
            "nce": self.nce / 2 * self.patch_nce(nets, fake, b.source),
            "identity": self.nce / 2 * self.patch_nce(nets, nets["G"](real), real),
        }

    def patch_nce(self, nets: nn.ModuleDict, made: Tensor, of: Tensor) -> Tensor:
        """Cross-entropy of finding, among places of `of`, the one at which `made` is looked
        at; over G's maps of both, averaged. Only `made` is moved by it."""
        total, count = made.new_zeros(()), 0
        with torch.no_grad():
            keys = self.maps(nets, of)
        for i, (query, key) in enumerate(zip(self.maps(nets, made), keys, strict=True)):
            q, k = query.flatten(2).transpose(1, 2), key.flatten(2).transpose(1, 2)
            n = min(self.patches, q.shape[1])
            order = draws.uniform(len(q), q.shape[1], device=q.device).argsort(1)[:, :n, None]
            q = nets["H"](i, q.gather(1, order.expand(-1, -1, q.shape[2])))
            k = nets["H"](i, k.gather(1, order.expand(-1, -1, k.shape[2]))).detach()
            logits = (q @ k.transpose(1, 2)) / self.tau
            target = torch.arange(n, device=q.device).expand(len(q), -1)
            count += 1
            total = total + F.cross_entropy(logits.flatten(0, 1), target.flatten())
        return total / max(count, 1)

    @staticmethod
    def maps(nets: nn.ModuleDict, x: Tensor) -> list[Tensor]:
        """G's maps of x, but those of a single place."""
        found = nets["G"].maps(x)  # type: ignore[operator]
        return [m for m in found if m[0, 0].numel() > 1]

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score
