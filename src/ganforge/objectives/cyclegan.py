"""Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks. Zhu et al.
2017, arXiv 1703.10593."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Objective, Player, Terms, outputs, require
from ganforge.spec import Batch, Spec


class CycleGAN(Objective):
    """G: source -> x and F: x -> source, against D, which judges x, and E, which judges
    sources; least squares.

        D: 1/2 E_x (D(x) - 1)^2 + 1/2 E_s D(G(s))^2, and E likewise
        G, F: E_s (D(G(s)) - 1)^2 + E_x (E(F(x)) - 1)^2
              + cycle (E_s |F(G(s)) - s| + E_x |G(F(x)) - x|)
              + identity cycle (E_x |G(x) - x| + E_s |F(s) - s|)

    Args:
        cycle: weight of the cycles.
        identity: weight of the identities, as a share of `cycle`.
        pool: how many earlier forgeries the critics are shown again, half of the time
            (Shrivastava et al. 2016, arXiv 1612.07828); each process has its own.
    """

    labels = "ignored"
    critics = ("D", "E")

    sampled = ("G", "F")

    def __init__(
        self,
        latent: Latent | None = None,
        cycle: float = 10.0,
        identity: float = 0.5,
        pool: int = 50,
    ) -> None:
        super().__init__()  # it starts from a source, so it has no latent
        fits = min(cycle, identity, pool) >= 0
        require(fits, f"cycle={cycle}, identity={identity}, pool={pool}: use 0 or more")
        self.cycle, self.identity, self.size = cycle, identity, pool

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        if spec.source is None:
            raise UserError(
                "cyclegan translates from one set into another, and only one is given; say which "
                "is the other: --set inputs=SOURCE"
            )
        there, back = spec.source, spec.shape
        if self.identity and there != back:
            raise UserError(
                f"identity compares G(x) with x, and {there} is not {back}; use --set identity=0"
            )
        for name, shape in (("x", back), ("source", there)):
            self.register_buffer(f"pool_{name}", torch.zeros(self.size, *shape))
        self.held: Tensor
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))
        return nn.ModuleDict(
            {
                "G": family.translator(there, back),
                "F": family.translator(back, there),
                "D": family.critic(back),
                "E": family.critic(there),
            }
        )

    def players(self) -> list[Player]:
        return [Player("D", ("D", "E"), self.d_loss), Player("G", ("G", "F"), self.g_loss)]

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        source = self.source(b)
        fake_x, fake_s = self.shown(nets["G"](source), nets["F"](b.real))
        d_real, d_fake = (score(nets["D"], x) for x in (b.real, fake_x))
        b.memo["D(x)"], b.memo["D(G(z))"] = {"score": d_real}, {"score": d_fake}
        return {
            "real": (d_real - 1).square().mean() / 2,
            "fake": d_fake.square().mean() / 2,
            "real_source": (score(nets["E"], source) - 1).square().mean() / 2,
            "fake_source": score(nets["E"], fake_s).square().mean() / 2,
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        source = self.source(b)
        x, s = nets["G"](source), nets["F"](b.real)
        terms = {
            "adv": (score(nets["D"], x) - 1).square().mean(),
            "adv_source": (score(nets["E"], s) - 1).square().mean(),
            "cycle": self.cycle * (gap(nets["F"](x), source) + gap(nets["G"](s), b.real)),
        }
        if self.identity and self.cycle:
            same = gap(nets["G"](b.real), b.real) + gap(nets["F"](source), source)
            terms["identity"] = self.identity * self.cycle * same
        return terms

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        said = {k: batch.memo[k]["score"] for k in ("D(x)", "D(G(z))") if k in batch.memo}
        return {k: v.detach().flatten(1).mean(1) for k, v in said.items()}

    @staticmethod
    def source(b: Batch) -> Tensor:
        assert b.source is not None
        return b.source

    @torch.no_grad()
    def shown(self, *made: Tensor) -> tuple[Tensor, ...]:
        """The forgeries, half of them exchanged for earlier ones once the pool is full."""
        if not self.size:
            return made
        pools = (self.get_buffer("pool_x"), self.get_buffer("pool_source"))
        n, held = len(made[0]), int(self.held)
        fresh = min(n, self.size - held)
        for pool, fake in zip(pools, made, strict=True):
            pool[held : held + fresh] = fake[:fresh].to(pool.dtype)
        self.held += fresh
        place = draws.integers(n, self.size, device=made[0].device)
        swap = draws.uniform(n, device=made[0].device) < 0.5
        if fresh:  # not yet full
            return made
        out = []
        for pool, fake in zip(pools, made, strict=True):
            mask = swap.view(-1, *[1] * (fake.dim() - 1))
            out.append(torch.where(mask, pool[place].to(fake.dtype), fake))
            pool[place[swap]] = fake[swap].to(pool.dtype)
        return tuple(out)


def score(critic: nn.Module, x: Tensor) -> Tensor:
    """(N,) or (N, patches)."""
    return outputs(critic, x)["score"]


def gap(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean()
