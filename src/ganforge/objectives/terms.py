"""Extra terms: penalties and regularisers that can join a player of any game.

Each takes (game, networks, batch), returns a weighted scalar, and shares through the
game's memo what the loss has computed already.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.objectives.objective import (
    Objective,
    TwoPlayer,
    over_processes,
    slopes,
    squared_slopes,
)
from ganforge.spec import Batch


# -- the quantities that are penalised ------------------------------------------------------
def interpolated_slopes(game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
    """||grad D|| on the lines between reals and forgeries, (N,)."""
    real, fake = b.real.detach(), game.fake(nets, b).detach()
    e = draws.uniform(len(b), device=fake.device).to(fake.dtype)
    x = torch.lerp(fake, real, e.view(-1, *[1] * (fake.dim() - 1))).requires_grad_()
    return slopes(game.judge(nets, x, b)["score"], x)


def perturbed_slopes(game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
    """||grad D|| at x + 1/2 std(x) U(0, 1), (N,), with the standard deviation over all
    components of all samples."""
    real = b.real.detach()
    mean, square = over_processes(torch.stack([real.mean(), real.square().mean()]))
    std = (square - mean.square()).clamp(min=0).sqrt()
    noise = draws.uniform(len(real), *real.shape[1:], device=real.device).to(real.dtype)
    x = (real + 0.5 * std * noise).requires_grad_()
    return slopes(game.judge(nets, x, b)["score"], x)


def pulling_away(codes: Tensor) -> Tensor:
    """f_PT(S) = 1 / (N (N - 1)) sum_{i != j} cos^2(S_i, S_j), of codes (N, F). It couples the
    batch: accumulating smaller batches changes its meaning."""
    s = nn.functional.normalize(codes.flatten(1), dim=1)
    n = len(s)
    return ((s @ s.T).square().sum() - s.square().sum(1).square().sum()) / max(n * (n - 1), 1)


def off_diagonal(net: nn.Module) -> Tensor:
    """sum_W ||W W^T * (1 - I)||^2 over the rows of a network's weight matrices and kernels;
    what embeds a class has no rows to tell apart, and is left alone."""
    total: Tensor | float = 0.0
    # With spectral norm an embedding's weight lies in a module below it.
    embeddings = [m for m in net.modules() if isinstance(m, nn.Embedding)]
    left = {id(p) for m in embeddings for p in m.parameters()}
    for w in (p.flatten(1) for p in net.parameters() if p.dim() > 1 and id(p) not in left):
        # ||W W^T|| = ||W^T W||, and the smaller one is cheaper.
        gram = w @ w.T if len(w) <= w.shape[1] else w.T @ w
        total = total + gram.square().sum() - w.square().sum(1).square().sum()
    return torch.as_tensor(total)


def perceptual(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """(N,): between two lists of maps (N, C, H, W), each place brought to about unit length,
    the squared distance, averaged over places and added over depths."""
    pairs = zip(maps, others, strict=True)
    gaps = [(_unit(a) - _unit(b)).square().sum(1).mean((1, 2)) for a, b in pairs]
    return torch.stack(gaps).sum(0)


def _unit(x: Tensor) -> Tensor:
    # Where a network sees next to nothing the direction means nothing, and its gradient
    # would have no bound.
    return x * (x.square().sum(1, keepdim=True) + 0.1).rsqrt()


# -- the terms ------------------------------------------------------------------------------
class Term(nn.Module):
    """A weighted term of `player`'s loss; see `ganforge.objectives.objective.Term`. Its
    buffers are saved with the game's.

    Attributes:
        two_player: it asks for a forgery or for D's opinion, as only such a game has them.

    Raises:
        UserError: the weight is negative or no number.
    """

    name, player, per_sample, two_player = "", "D", False, True

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"--add {self.name}={weight} does not fit; give a weight of 0 or more")
        self.weight = weight

    def value(self, game: Any, nets: nn.ModuleDict, b: Batch) -> Tensor:
        raise UserError(f"{type(self).__name__} does not define value(game, nets, batch)")

    def forward(self, game: Objective, nets: nn.ModuleDict, batch: Batch) -> Tensor:
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

    name, per_sample = "gp-data", True

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return (perturbed_slopes(game, nets, b) - 1).square().mean()


class LeCam(Term):
    """E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2, a_R and a_F the running means of D's scores of
    reals and forgeries. Tseng et al. 2021, arXiv 2104.03310. For scarce data."""

    name, decay = "lecam", 0.99

    def __init__(self, weight: float) -> None:
        super().__init__(weight)
        self.means: Tensor
        self.count: Tensor
        self.register_buffer("means", torch.zeros(2))
        self.register_buffer("count", torch.zeros(()))

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        real, fake = game.on_real(nets, b), game.on_fake(nets, b)
        self.follow(torch.stack([real.mean(), fake.mean()]))
        a_real, a_fake = self.means.to(real.dtype).unbind()
        return (real - a_fake).square().mean() + (fake - a_real).square().mean()

    @torch.no_grad()
    def follow(self, now: Tensor) -> None:
        """A plain mean of the first 1 / (1 - decay) batches, then with that decay."""
        self.count += 1
        weight = (1 / self.count).clamp(min=1 - self.decay)
        # Not in place: a loss may still need the old values.
        self.means = self.means.lerp(over_processes(now).to(self.means.dtype), weight)


class SaidClass(Term):
    """-E log P(c | x), the class c by a head of D, which is not told it: the auxiliary
    classifier, L_C of Odena et al. 2016, arXiv 1610.09585. D's of reals."""

    name, says_class = "class", True

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        said = self.judged(game, nets, b)
        if "class" not in said or b.label is None:
            raise UserError(
                f"term {self.name!r} reads the class of labelled samples from D's head for it; let "
                'D.outputs also return "class": (N, classes), on data with classes'
            )
        return nn.functional.cross_entropy(said["class"], b.label)

    def judged(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> dict[str, Tensor]:
        return game.judge_real(nets, b)


class SaidClassOfFake(SaidClass):
    """-E log P(c | G(z, c)) for D."""

    name = "class-fake"

    def judged(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> dict[str, Tensor]:
        return game.judge_fake(nets, b)


class SaidClassForG(SaidClassOfFake):
    """-E log P(c | G(z, c)) for G, which is to be recognised."""

    name, player = "class-g", "G"


class PullingAway(Term):
    """f_PT on D's features of forgeries. Zhao et al. 2016, arXiv 1609.03126."""

    name, player = "pulling-away", "G"

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return pulling_away(game.judge_fake(nets, b)["features"])


class Orthogonal(Term):
    """sum_W ||W W^T * (1 - I)||^2 over G's weights. Brock et al. 2018, arXiv 1809.11096."""

    name, player, two_player = "orthogonal", "G", False

    def value(self, game: TwoPlayer, nets: nn.ModuleDict, b: Batch) -> Tensor:
        return torch.stack([off_diagonal(nets[k]) for k in game.sampled]).sum()


class Fidelity(Term):
    """A distance between what G makes of a source and the real that belongs to it."""

    player, two_player = "G", False

    def value(self, game: Objective, nets: nn.ModuleDict, b: Batch) -> Tensor:
        if b.source is None:
            raise UserError(
                f"term {self.name!r} compares a forgery with the real it was made from, and this "
                "game starts from noise; drop it, or train on data with a source for each sample"
            )
        return self.distance(game.fake(nets, b), b.real.detach())

    def distance(self, fake: Tensor, real: Tensor) -> Tensor:
        raise UserError(f"{type(self).__name__} does not define distance(fake, real)")


class L1(Fidelity):
    """E |x - G(source)|. Isola et al. 2016, arXiv 1611.07004."""

    name = "l1"

    def distance(self, fake: Tensor, real: Tensor) -> Tensor:
        return (fake - real).abs().mean()


class Charbonnier(Fidelity):
    """E sqrt((x - G(source))^2 + eps^2), smooth where L1 has a kink. Lai et al. 2017, arXiv
    1704.03915."""

    name, eps = "charbonnier", 1e-3

    def distance(self, fake: Tensor, real: Tensor) -> Tensor:
        return ((fake - real).square() + self.eps**2).sqrt().mean()


class Perceived(Fidelity):
    """A distance through a network that was trained elsewhere and stays as it is."""

    def __init__(self, weight: float) -> None:
        super().__init__(weight)
        self.made: list[nn.Module] = []  # in a list: it is nobody's state

    def make(self) -> nn.Module:
        raise UserError(f"{type(self).__name__} does not define make()")

    def network(self, like: Tensor) -> nn.Module:
        """Made when it is first needed; where `like` is."""
        if not self.made:
            self.made.append(self.make())
        return self.made[0].to(like.device)


class Perceptual(Perceived):
    """The mean squared distance between maps of a network that knows photographs, each place
    brought to unit length, over four depths (Johnson et al. 2016, arXiv 1603.08155; unit
    length: Zhang et al. 2018, arXiv 1801.03924). The network is EfficientNet-Lite0, whose
    weights come with a package. Grey or colour pictures."""

    name = "perceptual"

    def make(self) -> nn.Module:
        from ganforge.families.lite import Depths

        return Depths(0)

    def distance(self, fake: Tensor, real: Tensor) -> Tensor:
        net = self.network(fake)
        with torch.no_grad():
            theirs = net(real)
        return perceptual(net(fake), theirs).mean()


class NearSource(Term):
    """E |source - G(source)|: what is made stays near what it was made from (Shrivastava et al.
    2016, arXiv 1612.07828, equation 4)."""

    name, player, two_player = "source", "G", False

    def value(self, game: Objective, nets: nn.ModuleDict, b: Batch) -> Tensor:
        if b.source is None or b.source.shape != b.real.shape:
            given = "none" if b.source is None else f"{tuple(b.source.shape[1:])}"
            raise UserError(
                f"term 'source' compares a forgery {tuple(b.real.shape[1:])} with its source, which "
                f"has to be of the same shape, and is {given}; drop the term"
            )
        return (game.fake(nets, b) - b.source).abs().mean()


class LearnedPerceptual(Perceived):
    """LPIPS through VGG16 (Zhang et al. 2018, arXiv 1801.03924), where torchvision's weights of
    it are on this disk. Grey or colour pictures, sides of 16 or more."""

    name = "lpips"

    def make(self) -> nn.Module:
        from ganforge.families.vgg import LPIPS

        return LPIPS()

    def distance(self, fake: Tensor, real: Tensor) -> Tensor:
        return self.network(fake)(fake, real).mean()


TERMS: dict[str, type[Term]] = {
    t.name: t
    for t in (
        R1, R2, GP, DataGP, LeCam, PullingAway, Orthogonal,
        SaidClass, SaidClassOfFake, SaidClassForG,
        L1, Charbonnier, Perceptual, LearnedPerceptual, NearSource,
    )
}  # fmt: skip


AUXILIARY = tuple(name for name, t in TERMS.items() if issubclass(t, SaidClass))
"""The terms of an auxiliary classifier: what `conditioning=auxiliary` adds."""


def term(name: str, weight: float = 1.0) -> Term:
    """An extra term by name.

    Raises:
        UserError: there is no such term, or the weight does not fit.
    """
    if name not in TERMS:
        near = difflib.get_close_matches(name, TERMS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"term {name!r} is unknown; {hint}choose one of {', '.join(TERMS)}")
    return TERMS[name](weight)
