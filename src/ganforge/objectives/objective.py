"""What varies between GANs, and nothing else: which networks exist, who moves in which
order, each mover's loss, and what happens after a move."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.objectives.latent import Latent
from ganforge.spec import Ask, Batch, Spec

Terms = dict[str, Tensor]
"""Named, already weighted scalars. A player's loss is their sum; each is logged by name."""

Loss = Callable[[nn.ModuleDict, Batch], Terms]


class Family(Protocol):
    """A family of networks supplies what it can; asking for the rest is a `UserError`
    that names the families that have it. `norm` is "family" (as the paper has it) or None."""

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        """G(z, y) -> x, with z (N, latent), y (N,) int64 or None, x (N, *shape) in [-1, 1]."""
        ...

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        """D(x, y) -> score (N,) or (N, patches). D.outputs(x, y) -> {"score": ...,
        "features": (N, F), and one (N, k) entry for each head asked for}."""
        ...

    def autoencoder(self, shape: tuple[int, ...], code: int | None = None) -> nn.Module:
        """D(x) -> x' (N, *shape); D.encode(x) -> code (N, F); D.decode(code) -> x'."""
        ...

    def translator(self, source: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        """G(source) -> x, with source (N, *source) and x (N, *shape), both in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Player:
    """Who moves: the only networks it moves (the trainer freezes all others), its loss,
    and when.

    Attributes:
        steps: moves per turn (WGAN's critic: 5).
        every: turns between moves.
        after: called with the networks and the move's terms, averaged over processes
            (weight clipping, BEGAN's k).
    """

    name: str
    nets: tuple[str, ...]
    loss: Loss
    steps: int = 1
    every: int = 1
    after: Callable[[nn.ModuleDict, Terms], None] | None = None


class Term(Protocol):
    """An extra term of some player's loss, independent of the game: R1, pulling-away, L1 ...

    Attributes:
        player: whose loss it joins.
        per_sample: it differentiates D sample by sample, so D may not mix samples.

    A term may also have `two_player` (it asks a D, so it counts in games that have one, and not
    while warming) and `says_class` (it asks D for the class, so D is not told it).
    """

    name: str
    player: str
    per_sample: bool

    def __call__(self, game: Objective, nets: nn.ModuleDict, batch: Batch) -> Tensor: ...


class Onlooker(Protocol):
    """Looks on at a player's moves and adds nothing to its loss. A module: its state is the
    game's.

    Attributes:
        player: at whose moves.
    """

    player: str

    def __call__(self, game: Objective, nets: nn.ModuleDict, batch: Batch) -> None: ...

    def readings(self) -> dict[str, Tensor]:
        """What to watch of it, (N,) by name."""
        ...


class Objective(nn.Module):
    """A game. Its buffers are its state: saved, restored and moved like any module's.

    Attributes:
        progress: the share of the run's horizon that is done, in [0, 1]; the trainer sets
            it before each turn, so that a weight may follow it.
        sampled: the networks that `sample` uses; only these are averaged (EMA).
        latent: the distribution of z, or None where the generator starts from a source.
        labels: what a sample's class is to the losses: "seen" where there is one, or "ignored",
            so that a conditional training would mean nothing.
        from_source: it can start from a source (a picture to restore or to translate).
        alone: nobody plays against what is sampled.
        critics: the networks that judge samples, and see them augmented.
        holds: what of the paper's own holds D back, in words.
        warming: the game has not begun: what is sampled learns from its extra terms alone
            (SRGAN's first stage), and nobody else moves; set by the trainer likewise.
    """

    progress: float = 0.0
    warming: bool = False
    sampled: tuple[str, ...] = ("G",)
    latent: Latent | None = None
    labels: ClassVar[Literal["seen", "ignored"]] = "seen"
    from_source: ClassVar[bool] = True
    alone: ClassVar[bool] = False
    critics: ClassVar[tuple[str, ...]] = ("D",)
    holds: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[str, list[Term]] = defaultdict(list)
        self.onlookers: list[Onlooker] = []

    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        """The networks of this game for samples like `spec`."""
        raise UserError(f"{type(self).__name__} does not define networks(family, spec)")

    def players(self) -> list[Player]:
        """Who moves, in order. The first player's samples are the ones that are counted."""
        raise UserError(f"{type(self).__name__} does not define players()")

    def sample(self, nets: nn.ModuleDict, ask: Ask) -> Tensor:
        """What the generator makes of `ask`: (N, *shape) in [-1, 1]."""
        return nets["G"](ask.latent, ask.label) if ask.source is None else nets["G"](ask.source)

    def fake(self, nets: nn.ModuleDict, b: Batch) -> Tensor:
        """The forgery of this move: `sample` at fresh latents, the batch's labels and sources."""

        def forge() -> Tensor:
            x = self.sample(nets, Ask(self.latents(b), b.label, b.source)).to(b.real.dtype)
            return x if x.requires_grad else x.requires_grad_()

        return b.once("fake", forge)

    def latents(self, b: Batch) -> Tensor | None:
        """The latents of this move, (N, width)."""
        latent = self.latent
        if latent is None or b.source is not None:
            return None
        return b.once("latents", lambda: latent.draw(len(b), b.real.device))

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        """What to watch beside the losses: per-sample values (N,) by name, from what the
        move has computed anyway."""
        return {}

    def watched(self, batch: Batch) -> dict[str, Tensor]:
        """The readings, and those of who looks on."""
        found = self.readings(batch)
        for o in self.onlookers:
            found |= o.readings()
        return found

    def moves(self, player: Player) -> bool:
        """Whether a player takes part now: all do, except while warming."""
        if not self.warming:
            return True
        return bool(self.joining(player)) and set(player.nets) <= set(self.sampled)

    def joining(self, player: Player) -> list[Term]:
        """The extra terms of a player that count now: while warming, those that ask no critic."""
        terms = self.terms.get(player.name, [])
        return [t for t in terms if not (self.warming and getattr(t, "two_player", False))]

    def add(self, term: Term) -> None:
        """Let `term` join its player's loss."""
        names = [p.name for p in self.players()]
        if any(t.name == term.name for t in self.terms.get(term.player, [])):
            raise UserError(f"term {term.name!r} is there already; give it once, with one weight")
        if term.player not in names:
            raise UserError(
                f"term {term.name!r} belongs to player {term.player!r}, but this game has "
                f"{', '.join(names)}; drop the term or choose a game with that player"
            )
        if getattr(term, "two_player", False) and not isinstance(self, TwoPlayer):
            raise UserError(
                f"term {term.name!r} needs a generator and a discriminator, which "
                f"{type(self).__name__} has not; drop the term or choose another objective"
            )
        self.terms[term.player].append(term)
        if isinstance(term, nn.Module):  # its state is the game's
            self.add_module(f"term_{term.name}", term)

    def look_on(self, onlooker: Onlooker) -> None:
        """Let `onlooker` look on at its player's moves."""
        self.onlookers.append(onlooker)
        if isinstance(onlooker, nn.Module):
            self.add_module(f"onlooker_{len(self.onlookers)}", onlooker)

    def movers(self) -> list[Player]:
        """The players, each with its extra terms in its loss, and looked on at."""
        return [replace(p, loss=self._with_terms(p)) for p in self.players()]

    def _with_terms(self, player: Player) -> Loss:
        extra = self.terms.get(player.name, [])
        onlookers = [o for o in self.onlookers if o.player == player.name]
        if not extra and not onlookers:
            return player.loss

        def loss(nets: nn.ModuleDict, batch: Batch) -> Terms:
            terms = {} if self.warming else player.loss(nets, batch)
            for t in self.joining(player):
                # A game that has this term already gets more of it, under another name.
                name = t.name if t.name not in terms else f"+{t.name}"
                terms[name] = t(self, nets, batch)  # type: ignore[arg-type]
            for o in onlookers:
                o(self, nets, batch)
            return terms

        return loss


class TwoPlayer(Objective):
    """A generator G against a discriminator (critic) D. A paper fills in the two losses.

    Args:
        latent: the distribution of z.
        d_steps: moves of D for each move of G.
        d_norm: "family" for the normalisation of the family's paper, None for none.

    Attributes:
        per_sample: the losses differentiate D sample by sample, so D gets no norm.
        squash: turns a score into what the paper calls D(x), for readings.
        pairs: D judges a sample together with its source (Isola et al. 2017, arXiv
            1611.07004), which joins it as more channels.
    """

    per_sample: bool = False
    pairs: bool = False

    def __init__(
        self, latent: Latent | None = None, d_steps: int = 1, d_norm: str | None = "family"
    ) -> None:
        super().__init__()
        require(d_steps >= 1, f"d_steps={d_steps} does not fit; D moves 1 time a turn or more")
        self.latent = latent or Latent()
        self.d_steps, self.d_norm = d_steps, d_norm

    # -- the paper's two equations ------------------------------------------------------
    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        raise UserError(f"{type(self).__name__} does not define d_loss(nets, batch)")

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        raise UserError(f"{type(self).__name__} does not define g_loss(nets, batch)")

    def after_d(self, nets: nn.ModuleDict, terms: Terms) -> None:
        """What happens after each move of D."""

    @staticmethod
    def squash(score: Tensor) -> Tensor:
        return score.sigmoid()

    # -- what they are written with -----------------------------------------------------
    def judge(self, nets: nn.ModuleDict, x: Tensor, b: Batch) -> dict[str, Tensor]:
        """All outputs of D on x."""
        return outputs(nets["D"], self.seen(x, b), None if self.auxiliary else b.label)

    def seen(self, x: Tensor, b: Batch) -> Tensor:
        """What D sees of x: x, with its source where it judges pairs."""
        if not self.pairs or b.source is None:
            return x
        return torch.cat([x, b.source.to(x.dtype)], 1)

    def judge_real(self, nets: nn.ModuleDict, b: Batch) -> dict[str, Tensor]:
        return b.once("D(x)", lambda: self.judge(nets, b.real.requires_grad_(), b))

    def judge_fake(self, nets: nn.ModuleDict, b: Batch) -> dict[str, Tensor]:
        return b.once("D(G(z))", lambda: self.judge(nets, self.fake(nets, b), b))

    def on_real(self, nets: nn.ModuleDict, b: Batch) -> Tensor:
        """D's score of the real samples, differentiable in `b.real`."""
        return self.judge_real(nets, b)["score"]

    def on_fake(self, nets: nn.ModuleDict, b: Batch) -> Tensor:
        """D's score of the forgery, differentiable in `self.fake(nets, b)`."""
        return self.judge_fake(nets, b)["score"]

    # -- the game -----------------------------------------------------------------------
    def networks(self, family: Family, spec: Spec) -> nn.ModuleDict:
        return nn.ModuleDict({"G": self.make_g(family, spec), "D": self.make_d(family, spec)})

    def make_g(self, family: Family, spec: Spec) -> nn.Module:
        if spec.source is not None:
            return family.translator(spec.source, spec.shape)
        assert self.latent is not None
        return family.generator(self.latent.width, spec.shape, spec.classes)

    def make_d(self, family: Family, spec: Spec) -> nn.Module:
        shape, norm = self.judged(spec), self.critic_norm
        if not self.auxiliary:
            return family.critic(shape, spec.classes, norm=norm)
        if not spec.classes:
            raise UserError("D is to say the class, and these data have none; use labelled data")
        return family.critic(shape, heads={"class": spec.classes}, norm=norm)

    @property
    def auxiliary(self) -> bool:
        """Whether D says the class instead of being told it (Odena et al. 2016)."""
        return any(getattr(t, "says_class", False) for ts in self.terms.values() for t in ts)

    def judged(self, spec: Spec) -> tuple[int, ...]:
        """The shape of what D sees.

        Raises:
            UserError: it is to judge pairs, and there are no sources of the samples' size.
        """
        if not self.pairs:
            return spec.shape
        if spec.source is None or spec.source[1:] != spec.shape[1:]:
            raise UserError(
                f"pairs=true lets D see each sample {spec.shape} with its source {spec.source}, "
                "which has to be of the same size; use --set pairs=false"
            )
        return (spec.shape[0] + spec.source[0], *spec.shape[1:])

    @property
    def critic_norm(self) -> str | None:
        """A norm that mixes samples would break every per-sample gradient."""
        mixes = self.per_sample or any(t.per_sample for ts in self.terms.values() for t in ts)
        return None if mixes and self.d_norm == "family" else self.d_norm

    def players(self) -> list[Player]:
        return [
            Player("D", ("D",), self.d_loss, steps=self.d_steps, after=self.after_d),
            Player("G", ("G",), self.g_loss),
        ]

    def readings(self, batch: Batch) -> dict[str, Tensor]:
        """D(x) and D(G(z)) as the paper means them, (N,)."""
        scores = {k: batch.memo[k]["score"] for k in ("D(x)", "D(G(z))") if k in batch.memo}
        return {k: self.squash(per_sample(s.detach())) for k, s in scores.items()}


def outputs(net: nn.Module, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
    """All that a critic says of x: {"score", "features", and its heads}. Networks may compute
    in half precision; losses do not."""
    said: dict[str, Tensor] = net.outputs(x, y)  # type: ignore[operator]
    half = (torch.bfloat16, torch.float16)
    return {k: v.float() if v.dtype in half else v for k, v in said.items()}


def per_sample(score: Tensor) -> Tensor:
    """Scores (N,) or (N, patches), as one a sample."""
    return score.reshape(len(score), -1).mean(1)


def slopes(score: Tensor, x: Tensor, eps: float = 1e-12) -> Tensor:
    """||grad_x D(x)||_2 of each sample, (N,), differentiable. `score` is (N,) or (N, patches)."""
    return (squared_slopes(score, x) + eps).sqrt()


def squared_slopes(score: Tensor, x: Tensor) -> Tensor:
    """||grad_x D(x)||^2 of each sample, (N,), summed over all its dimensions, D(x) being the
    mean of its patches. D may not mix samples."""
    (gradient,) = torch.autograd.grad(per_sample(score).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def over_processes(statistic: Tensor) -> Tensor:
    """A batch statistic, detached, averaged over all processes: what a loss remembers has to
    be the same on each."""
    statistic = statistic.detach()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        statistic = statistic.clone()
        dist.all_reduce(statistic)
        statistic /= dist.get_world_size()
    return statistic


def require(condition: bool, message: str) -> None:
    """Refuse an option's value.

    Raises:
        UserError: the condition does not hold.
    """
    if not condition:
        raise UserError(message)


def options(objective: type[Objective]) -> dict[str, Any]:
    """The objective's own settings: its constructor's keyword arguments and defaults."""
    return {k: p.default for k, p in inspect.signature(objective).parameters.items()}
