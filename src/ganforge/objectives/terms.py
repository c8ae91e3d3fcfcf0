"""Extra terms: penalties and regularisers that can join a player of any game.

Each takes (game, networks, batch), returns a weighted scalar, and shares through the
game's memo what the loss has computed already.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.objectives.objective import TwoPlayer, slopes, squared_slopes
from ganforge.spec import Batch


# -- the quantities that are penalised ------------------------------------------------------
def interpolated_slopes(game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
    """||grad D|| on the lines between reals and forgeries, (N,)."""
    fake = game.fake(nets, b).detach()
    e = draws.uniform(len(b), device=fake.device).view(-1, *[1] * (fake.dim() - 1))
    x = torch.lerp(fake, b.real.detach(), e).requires_grad_()
    return slopes(game.judge(nets, x, b)["score"], x)


def perturbed_slopes(game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
    """||grad D|| at x + 1/2 std(x) U(0, 1), (N,)."""
    real = b.real.detach()
    noise = draws.uniform(len(real), *real.shape[1:], device=real.device)
    x = (real + 0.5 * real.std() * noise).requires_grad_()
    return slopes(game.judge(nets, x, b)["score"], x)


def pulling_away(codes: Tensor) -> Tensor:
    """f_PT(S) = 1 / (N (N - 1)) sum_{i != j} cos^2(S_i, S_j), of codes (N, F). It couples the
    batch: accumulating smaller batches changes its meaning."""
    s = nn.functional.normalize(codes.flatten(1), dim=1)
    n = len(s)
    return ((s @ s.T).square().sum() - n) / (n * (n - 1))


def off_diagonal(net: nn.Module) -> Tensor:
    """sum_W ||W W^T * (1 - I)||^2 over the net's weight matrices (Brock et al. 2018)."""
    total = torch.zeros(())
    for name, w in net.named_parameters():
        if w.dim() < 2 or "embed" in name:
            continue
        flat = w.flatten(1)
        gram = flat @ flat.T
        total = total + (gram - torch.diag(gram.diagonal())).square().sum()
    return total


# -- the terms ------------------------------------------------------------------------------
class Term:
    """A weighted term of `player`'s loss; see `ganforge.objectives.objective.Term`."""

    name, player, per_sample, about = "", "D", False, ""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        raise UserError(f"{type(self).__name__} does not define value(game, nets, batch)")

    def __call__(self, game: TwoPlayer, nets: nn.ModuleDict, batch: Batch) -> Tensor:
        return self.weight * self.value(game, nets, batch)


class R1(Term):
    """1/2 E_x ||grad D(x)||^2. Mescheder et al. 2018, arXiv 1801.04406. Weight: gamma."""

    name, per_sample = "r1", True

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return squared_slopes(game.on_real(nets, b), b.real).mean() / 2


class R2(Term):
    """1/2 E_z ||grad D(G(z))||^2. Mescheder et al. 2018, arXiv 1801.04406. Weight: gamma."""

    name, per_sample = "r2", True

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return squared_slopes(game.on_fake(nets, b), game.fake(nets, b)).mean() / 2


class GP(Term):
    """E (||grad D(x^)|| - 1)^2 between reals and forgeries. Gulrajani et al. 2017, arXiv
    1704.00028. Weight: lambda."""

    name, per_sample = "gp", True

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return (interpolated_slopes(game, nets, b) - 1).square().mean()


class DataGP(Term):
    """E (||grad D(x + delta)|| - 1)^2 around reals. Kodali et al. 2017, arXiv 1705.07215.
    Weight: lambda."""

    name, per_sample = "data-gp", True

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return (perturbed_slopes(game, nets, b) - 1).square().mean()


class LeCam(Term):
    """E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2, a_R and a_F being running means of D's scores
    of reals and forgeries. Tseng et al. 2021, arXiv 2104.03310.

    The means are the batch's own, so that no state is kept: the regulariser pulls each
    side towards the other as theirs does.
    """

    name = "lecam"

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        real, fake = game.on_real(nets, b), game.on_fake(nets, b)
        return (real - fake.mean().detach()).square().mean() + (
            fake - real.mean().detach()
        ).square().mean()


class PullingAway(Term):
    """f_PT on D's features of forgeries. Zhao et al. 2016, arXiv 1609.03126."""

    name, player = "pulling-away", "G"

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        features = game.judge_fake(nets, b).get("features")
        return pulling_away(nets["D"].encode(game.fake(nets, b)) if features is None else features)


class Orthogonal(Term):
    """sum_W ||W W^T * (1 - I)||^2 over G's weights. Brock et al. 2018, arXiv 1809.11096."""

    name, player = "orthogonal", "G"

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return off_diagonal(nets["G"])


class L1(Term):
    """E |x - G(source)|, for games whose reals belong to their sources. Isola et al. 2016,
    arXiv 1611.07004."""

    name, player = "l1", "G"

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        if b.source is None:
            raise UserError("term 'l1' needs data with a source for each sample; drop it")
        return (game.fake(nets, b) - b.real.detach()).abs().mean()


TERMS: dict[str, Callable[[float], Term]] = {
    t.name: t for t in (R1, R2, GP, DataGP, LeCam, PullingAway, Orthogonal, L1)
}


def term(name: str, weight: float) -> Term:
    """An extra term by name.

    Raises:
        UserError: there is no such term.
    """
    if name not in TERMS:
        raise UserError(f"term {name!r} is unknown; choose one of {', '.join(TERMS)}")
    return TERMS[name](weight)
