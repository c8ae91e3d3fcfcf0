"""The lab: GAN Lab's lesson (Kahng et al. 2018, arXiv 1809.01587) with the real engine.

The games are ganforge.objectives', the networks ganforge.families', the turns those of
ganforge.training. A session is a game on one or two dimensions; a page asks it for turns
and gets a frame, everything that can be drawn of the state it is in. When no page asks,
nothing computes.

Beside the game stands its theory: with the densities p of the data and q of the forgeries,
measured on a grid, each objective has a best possible D, and losses that this D would give.
"""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from fastapi.exceptions import RequestValidationError
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri, xlogy
from torch import Tensor

from ganforge import draws
from ganforge.data import Dataset
from ganforge.families import family
from ganforge.objectives import make_objective, term
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import TwoPlayer
from ganforge.spec import Ask, Batch, Spec
from ganforge.studio.compute import compute
from ganforge.studio.problems import Problem
from ganforge.training.trainer import Trainer, make_optimisers

Array = NDArray[np.float64]

MOST_SESSIONS = 8
LIFETIME = 20 * 60.0
"""Seconds after which a session that nobody asks for is let go."""
MOST_SECONDS = 0.5
"""How long one request may compute; what is left of its turns comes with the next."""
POINTS = 1 << 14
REACH = 2.0
"""The window is [-REACH, REACH] in each dimension."""
SHOWN = 400
MEASURED = 4096
CELLS = {1: 128, 2: 40}


# -- data -----------------------------------------------------------------------------------
def _around(centres: Array, sigma: float, n: int, r: np.random.Generator) -> Array:
    return centres[r.integers(len(centres), size=n)] + r.normal(0, sigma, (n, centres.shape[1]))


def _circle(count: int, radius: float = 1.3) -> Array:
    a = 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(a), np.sin(a)], 1)


def _lattice(side: int, width: float = 1.4) -> Array:
    at = np.linspace(-width, width, side)
    return np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)


def _spiral(n: int, r: np.random.Generator) -> Array:
    t = np.sqrt(r.uniform(0.03, 1, n)) * 3 * np.pi
    at = np.stack([np.cos(t), np.sin(t)], 1) * (t / (3 * np.pi) * 1.5)[:, None]
    return at + r.normal(0, 0.05, (n, 2))


def _moons(n: int, r: np.random.Generator) -> Array:
    t = r.uniform(0, np.pi, n)
    side = np.where(r.random(n) < 0.5, 1.0, -1.0)
    at = np.stack([side * (np.cos(t) - 0.5), side * (np.sin(t) - 0.25)], 1)
    return at + r.normal(0, 0.07, (n, 2))


@dataclass(frozen=True)
class Density:
    """A distribution to learn.

    Attributes:
        draw: (number, generator) -> (N, dims) samples.
        centres: (K, dims) its modes, where they can be counted, else None.
        sigma: their width.
    """

    dims: int
    draw: Any
    centres: Array | None = None
    sigma: float = 0.0

    @classmethod
    def modes(cls, centres: Array, sigma: float) -> Density:
        dims = centres.shape[1]
        return cls(dims, lambda n, r: _around(centres, sigma, n, r), centres, sigma)


DENSITIES = {
    "bump": Density.modes(np.array([[0.6]]), 0.3),
    "two-bumps": Density.modes(np.array([[-0.9], [0.9]]), 0.22),
    "three-bumps": Density.modes(np.array([[-1.3], [0.0], [1.3]]), 0.15),
    "flat": Density(1, lambda n, r: r.uniform(-1.2, 1.2, (n, 1))),
    "blob": Density.modes(np.array([[0.5, 0.4]]), 0.3),
    "corner": Density.modes(np.array([[1.3, 1.1]]), 0.15),
    "ring": Density.modes(_circle(8), 0.09),
    "grid": Density.modes(_lattice(4), 0.08),
    "two-blobs": Density.modes(np.array([[-0.9, -0.5], [0.9, 0.5]]), 0.2),
    "spiral": Density(2, _spiral),
    "moons": Density(2, _moons),
    "point": Density.modes(np.array([[0.0, 0.0]]), 0.05),
}


# -- theory ---------------------------------------------------------------------------------
class Theory(ABC):
    """What the papers prove about a game, from densities p and q on a grid of cells.

    Attributes:
        shown: the range of what D says, as shown; None where only differences count.
        at_end: the losses of D and G when p = q and D is the best there is.
    """

    shown: tuple[float, float] | None = (0.0, 1.0)
    at_end: tuple[float | None, float | None] = (None, None)

    def best(self, p: Array, q: Array, cell: float) -> Array | None:
        """What the best D says in each cell, as shown."""
        return p / np.maximum(p + q, 1e-12)

    @abstractmethod
    def losses(self, p: Array, q: Array, cell: float) -> tuple[float | None, float | None]:
        """The losses of D and G with that D."""


class LogTheory(Theory):
    """Goodfellow et al. 2014: D* = p / (p + q), and D's loss is log 4 - 2 JSD."""

    def __init__(self, saturating: bool = False) -> None:
        self.saturating = saturating
        self.at_end = (2 * np.log(2), -np.log(2) if saturating else np.log(2))

    def losses(self, p: Array, q: Array, cell: float) -> tuple[float, float]:
        total = np.maximum(p + q, 1e-12)
        real, fake = -xlogy(p, p / total).sum() * cell, -xlogy(q, q / total).sum() * cell
        missed = np.maximum(p / total, 1e-6)
        g = -fake if self.saturating else -(q * np.log(missed)).sum() * cell
        return float(real + fake), float(g)


class SquareTheory(Theory):
    """Mao et al. 2016 with targets 0, 1, 1: D* = p / (p + q), D's loss 1/2 int pq / (p + q)."""

    at_end = (0.25, 0.125)

    def losses(self, p: Array, q: Array, cell: float) -> tuple[float, float]:
        best = self.best(p, q, cell)
        assert best is not None
        d = 0.5 * (p * (best - 1) ** 2 + q * best**2).sum() * cell
        return float(d), float(0.5 * (q * (best - 1) ** 2).sum() * cell)


class HingeTheory(Theory):
    """Lim and Ye 2017: D* = sign(p - q), D's loss 2 (1 - TV)."""

    shown = (-1.0, 1.0)
    at_end = (2.0, 0.0)

    def best(self, p: Array, q: Array, cell: float) -> Array:
        return np.sign(p - q)

    def losses(self, p: Array, q: Array, cell: float) -> tuple[float, float]:
        d = 2 * np.minimum(p, q).sum() * cell
        return float(d), float(-(q * np.sign(p - q)).sum() * cell)


class WassersteinTheory(Theory):
    """Arjovsky et al. 2017: the best 1-Lipschitz D gives -W1. In one dimension W1 is the area
    between the distribution functions, and D* rises where more of q than of p lies below."""

    shown = None
    at_end = (0.0, None)

    def best(self, p: Array, q: Array, cell: float) -> Array | None:
        if p.ndim > 1:
            return None
        return np.cumsum(np.sign(np.cumsum(q - p))) * cell

    def losses(self, p: Array, q: Array, cell: float) -> tuple[float | None, None]:
        if p.ndim > 1:
            return None, None
        return float(-np.abs(np.cumsum(p - q) * cell).sum() * cell), None


class PairTheory(Theory):
    """Relativistic pairs: D* = log p/q up to a constant, D's loss is
    ln 2 - JSD(p x q || q x p)."""

    at_end = (np.log(2), np.log(2))

    def losses(self, p: Array, q: Array, cell: float) -> tuple[float, float]:
        p, q = p.ravel(), q.ravel()
        some = (p + q) * cell > 1e-6
        p, q = p[some], q[some]
        score = np.log(np.maximum(p, 1e-9)) - np.log(np.maximum(q, 1e-9))
        gap = score[:, None] - score[None, :]  # D*(real) - D*(fake)
        weight = p[:, None] * q[None, :] * cell * cell
        return (
            float((weight * np.logaddexp(0, -gap)).sum()),
            float((weight * np.logaddexp(0, gap)).sum()),
        )


class EnergyTheory(Theory):
    """Zhao et al. 2016: D* is the margin m where p < q and 0 elsewhere, D's loss m (1 - TV).
    When p = q any constant from 0 to m is as good a D, and so is G's loss (theorem 2)."""

    def __init__(self, margin: float) -> None:
        self.margin = margin
        self.shown = (margin, 0.0)  # a low energy is real
        self.at_end = (margin, None)

    def best(self, p: Array, q: Array, cell: float) -> Array:
        return np.where(p < q, self.margin, 0.0)

    def losses(self, p: Array, q: Array, cell: float) -> tuple[float, float]:
        d = self.margin * np.minimum(p, q).sum() * cell
        return float(d), float((q * self.best(p, q, cell)).sum() * cell)


class BalanceTheory(Theory):
    """Berthelot et al. 2017: no best D is known; k keeps E L(G(z)) at gamma E L(x), and the
    measure M tells how far both have come."""

    shown = (0.5, 0.0)

    def best(self, p: Array, q: Array, cell: float) -> None:
        return None

    def losses(self, p: Array, q: Array, cell: float) -> tuple[None, None]:
        return None, None


@dataclass(frozen=True)
class Choice:
    """A game to choose: an objective, its options, its theory."""

    objective: str
    theory: Theory
    options: tuple[tuple[str, Any], ...] = ()


GAMES = {
    "gan": Choice("gan", LogTheory()),
    "minimax": Choice("gan", LogTheory(saturating=True), (("saturating", True),)),
    "lsgan": Choice("lsgan", SquareTheory()),
    "hinge": Choice("hinge", HingeTheory()),
    "wgan": Choice("wgan", WassersteinTheory(), (("clip", 0.1),)),
    "wgan-gp": Choice("wgan-gp", WassersteinTheory(), (("gp", 1.0),)),
    "dragan": Choice("dragan", LogTheory()),
    "r3gan": Choice("rpgan", PairTheory()),
    "ebgan": Choice("ebgan", EnergyTheory(1.0), (("margin", 1.0),)),
    "began": Choice("began", BalanceTheory(), (("lambda_k", 0.02),)),
}
PENALTIES = ("r1", "r2", "gp", "lecam")


class Setup(BaseModel):
    """What the person chose."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    dims: Literal[1, 2] = 2
    data: str = "ring"
    drawn: list[list[float]] = Field([], max_length=4000)
    game: str = "gan"
    penalties: dict[str, float] = Field({}, max_length=len(PENALTIES))
    d_steps: int = Field(1, ge=1, le=10)
    latent: Literal[1, 2] = 2
    noise: Literal["normal", "uniform"] = "uniform"
    width: int = Field(32, ge=2, le=128)
    depth: int = Field(2, ge=0, le=4)
    d_width: int = Field(32, ge=2, le=128)
    d_depth: int = Field(2, ge=0, le=4)
    rate_g: float = Field(1e-3, gt=0, le=1)
    rate_d: float = Field(1e-3, gt=0, le=1)
    momentum: float = Field(0.5, ge=0, lt=1)
    optimiser: Literal["adam", "sgd"] = "adam"
    batch: int = Field(128, ge=4, le=512)
    seed: int = Field(0, ge=0, le=2**31)


class Turns(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    turns: int = Field(1, ge=0, le=500)
    only: Literal["both", "D", "G"] = "both"


def density_of(setup: Setup) -> Density:
    """The distribution that was chosen or drawn.

    Raises:
        Problem: it is unknown, of other dimensions, or too little was drawn.
    """
    if setup.data == "drawn":
        drawn = np.array([p for p in setup.drawn if len(p) == setup.dims], float)
        if len(drawn) < 5 or np.abs(drawn).max() > REACH:
            raise Problem(422, "Too little drawn", "draw a few strokes inside the window first")
        return Density(setup.dims, lambda n, r: _around(drawn, 0.05, n, r))
    density = DENSITIES.get(setup.data)
    if density is None or density.dims != setup.dims:
        raise Problem(422, "No such distribution", f"{setup.data} has not {setup.dims} dimensions")
    return density


class Experiment:
    """One game, as far as it has been played.

    Raises:
        Problem: the setup names what is not there.
        UserError: a combination that cannot work.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.game not in GAMES:
            raise Problem(422, "No such game", f"choose one of {', '.join(GAMES)}")
        unknown = set(setup.penalties) - set(PENALTIES)
        if unknown:
            raise Problem(422, "No such penalty", f"choose from {', '.join(PENALTIES)}")
        self.setup, self.density = setup, density_of(setup)
        choice = GAMES[setup.game]
        self.theory = choice.theory
        data = self.density.draw(POINTS, np.random.default_rng(setup.seed)).astype(np.float32)
        self.data = Dataset(data)
        options = dict(choice.options)
        latent = Latent(setup.latent, setup.noise)
        made = make_objective(choice.objective, latent=latent, d_steps=setup.d_steps, **options)
        assert isinstance(made, TwoPlayer)
        self.game = made
        for name, weight in setup.penalties.items():
            if weight > 0:
                self.game.add(term(name, weight))
        nets = family(
            "mlp",
            width=setup.width,
            depth=setup.depth,
            d_width=setup.d_width,
            d_depth=setup.d_depth,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seed)
            self.nets = self.game.networks(nets, Spec((setup.dims,)))
        optimisers = make_optimisers(
            self.game,
            self.nets,
            kind=setup.optimiser,
            rates={"D": setup.rate_d, "G": setup.rate_g},
            betas=(setup.momentum, 0.99),
            eps=1e-8,
        )
        self.trainer = Trainer(
            self.game, self.nets, optimisers, self.data, batch_size=setup.batch, seed=setup.seed
        )
        self.terms: dict[str, float] = {}
        index = torch.arange(MEASURED)
        with draws.keyed(setup.seed, "lab", index):
            self.z = latent.draw(MEASURED)
        self.axis = (np.arange(CELLS[setup.dims]) + 0.5) / CELLS[setup.dims] * 2 * REACH - REACH
        self.cell = float((self.axis[1] - self.axis[0]) ** setup.dims)
        self.cells = self._cells()
        self.p = self._density(data)

    # -- playing ------------------------------------------------------------------------
    def play(self, turns: int, only: str = "both") -> None:
        """So many turns, or only one player's moves, as far as the time allows."""
        end = time.monotonic() + MOST_SECONDS
        for _ in range(turns):
            if only == "both":
                done = self.trainer.turn()
            else:
                done = self._move(only)
            self.terms |= {k: float(v) for k, v in done.terms.items()}
            if time.monotonic() > end:
                return

    def _move(self, only: str):
        from ganforge.training.trainer import Turn

        done = Turn()
        self.trainer.set_rates()
        for player in self.trainer.players:
            if player.name == only:
                self.trainer.move(player, done, False)
        self.trainer.step += 1
        return done

    # -- looking ------------------------------------------------------------------------
    def frame(self) -> dict[str, Any]:
        """Everything that a page draws."""
        with torch.no_grad():
            fake = self.game.sample(self.nets, Ask(self.z))
        x = fake.numpy()
        q = self._density(x)
        real = self.data.raw(np.arange(SHOWN))
        d_best, g_best = self.theory.losses(self.p, q, self.cell)
        best = self.theory.best(self.p, q, self.cell)
        says, middle = self._says(fake)
        losses = {n: self._loss(n) for n in ("D", "G")}
        shown = {
            "step": self.trainer.step,
            "real": rounded(real),
            "fake": rounded(x[:SHOWN]),
            "field": rounded(says),
            "best": None if best is None else rounded(best.ravel() - self._centre(best, q)),
            "reads": self._reads(fake, middle),
            "pull": self._pull(fake[:64]),
            "grid": self._grid(),
            "terms": {k: finite(v) for k, v in self.terms.items()},
            "loss": losses,
            "more": self._more(),
            "theory": {"D": finite(d_best), "G": finite(g_best)},
            "distance": finite(jsd(self.p, q, self.cell)),
            "modes": self._modes(x),
            "broken": not np.isfinite(x).all(),
        }
        if self.setup.dims == 1:
            shown |= {"p": rounded(self.p), "q": rounded(q)}
        return shown

    def described(self) -> dict[str, Any]:
        """What does not change."""
        return {
            "axis": rounded(self.axis),
            "reach": REACH,
            "shown": self.theory.shown,
            "end": {"D": finite(self.theory.at_end[0]), "G": finite(self.theory.at_end[1])},
            "worst": float(np.log(2)),
        }

    def _cells(self) -> Tensor:
        """The centres of the grid's cells, (cells, dims); the last axis runs fastest."""
        axes = np.meshgrid(*[self.axis] * self.setup.dims, indexing="ij")
        return torch.from_numpy(np.stack(axes, -1).reshape(-1, self.setup.dims)).float()

    def _density(self, x: NDArray[Any]) -> Array:
        """A histogram on the grid, smoothed by one cell."""
        x = np.nan_to_num(x, nan=REACH * 9, posinf=REACH * 9, neginf=-REACH * 9)
        bins = [CELLS[self.setup.dims]] * self.setup.dims
        span = [(-REACH, REACH)] * self.setup.dims
        counts, _ = np.histogramdd(np.asarray(x, float), bins, span)
        return gaussian_filter(counts, 1.0, mode="constant") / (len(x) * self.cell)

    def _score(self, x: Tensor) -> Tensor:
        batch = Batch(x)
        return self.game.judge(self.nets, x, batch)["score"]

    @torch.no_grad()
    def _says(self, fake: Tensor) -> tuple[Array, float]:
        """What D says in each cell, as its paper shows it, and the score that it is
        relative to, where only differences count."""
        score, middle = self._score(self.cells), 0.0
        if self._relative:
            real = self.data.batch(np.arange(1024)).real
            middle = float((self._score(real).mean() + self._score(fake[:1024]).mean()) / 2)
        says = score - middle
        if self.theory.shown is not None:
            says = self.game.squash(says)
        return says.double().numpy(), middle

    @property
    def _relative(self) -> bool:
        return self.theory.shown is None or isinstance(self.theory, PairTheory)

    def _centre(self, best: Array, q: Array) -> float:
        if self.theory.shown is not None:
            return 0.0
        weight = (self.p + q) * self.cell / 2
        return float((best * weight).sum())

    @torch.no_grad()
    def _reads(self, fake: Tensor, middle: float) -> dict[str, float | None]:
        """D(x) and D(G(z)), on average."""
        out = {}
        real = self.data.batch(np.arange(1024)).real
        for name, x in (("real", real), ("fake", fake[:1024])):
            score = self._score(x) - middle
            says = score if self.theory.shown is None else self.game.squash(score)
            out[name] = finite(float(says.mean()))
        return out

    def _more(self) -> dict[str, float | None]:
        """What the objective watches beside D(x) and D(G(z)), which need a batch."""
        watched = self.game.readings(Batch(self.data.batch(np.arange(1)).real))
        return {name: finite(float(v.mean())) for name, v in watched.items()}

    def _loss(self, player: str) -> float | None:
        """A player's loss without the penalties, which theory knows nothing of."""
        own = {"real", "fake", "adv"}
        found = [
            v for k, v in self.terms.items() if k.split("/")[0] == player and k.split("/")[1] in own
        ]
        return finite(sum(found)) if found else None

    def _pull(self, fake: Tensor) -> list[list[float]]:
        """Where G's loss would move each forgery, (N, dims); the longest has length 1."""
        x = fake.detach().requires_grad_()
        batch = Batch(self.data.batch(np.arange(len(x))).real)
        batch.memo["fake"] = x
        loss = sum(self.game.g_loss(self.nets, batch).values(), torch.zeros(()))
        (gradient,) = torch.autograd.grad(loss, x)
        longest = gradient.norm(dim=1).max().clamp_min(1e-12)
        return rounded((-gradient / longest).numpy())

    @torch.no_grad()
    def _grid(self) -> dict[str, Any]:
        """Where G sends a regular grid of latents."""
        count = 15 if self.setup.latent == 2 else 101
        level = (np.arange(count) + 0.5) / count
        at = 2 * level - 1 if self.setup.noise == "uniform" else ndtri(level)
        axes = np.meshgrid(*[at] * self.setup.latent, indexing="ij")
        z = torch.from_numpy(np.stack(axes, -1).reshape(-1, self.setup.latent)).float()
        x = self.game.sample(self.nets, Ask(z)).numpy()
        return {"side": count, "z": rounded(at), "x": rounded(x)}

    def _modes(self, x: NDArray[Any]) -> dict[str, int] | None:
        """Modes with at least a quarter of their share of near forgeries."""
        centres = self.density.centres
        if centres is None:
            return None
        distance = np.linalg.norm(x[:, None] - centres[None], axis=2)
        near = distance.min(1) < 4 * self.density.sigma
        counts = np.bincount(distance.argmin(1)[near], minlength=len(centres))
        return {"found": int((counts >= len(x) / len(centres) / 4).sum()), "of": len(centres)}


def jsd(p: Array, q: Array, cell: float) -> float:
    """The Jensen-Shannon divergence in nats; mass outside the window counts as apart."""
    total = np.maximum(p + q, 1e-12)
    inside = (xlogy(p, 2 * p / total) + xlogy(q, 2 * q / total)).sum() * cell / 2
    outside = 1 - (p.sum() + q.sum()) * cell / 2
    return float(max(0.0, inside + outside * np.log(2)))


def finite(v: float | None) -> float | None:
    return None if v is None or not np.isfinite(v) else float(f"{v:.5g}")


def rounded(v: NDArray[Any]) -> list[Any]:
    """For JSON: three decimals, within bounds."""
    return np.nan_to_num(np.round(v, 3), nan=0, posinf=99, neginf=-99).clip(-99, 99).tolist()


class Lab:
    """The open sessions, few and for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, tuple[float, Experiment]] = OrderedDict()

    def open(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new session at its start."""
        setup = understood(Setup, body)

        def begin() -> tuple[Experiment, dict[str, Any]]:
            made = Experiment(setup)
            return made, made.frame()

        made, frame = compute(begin)
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._tidy()
            self._sessions[name] = (time.monotonic(), made)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return {"session": name, "frame": frame, **made.described()}

    def play(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Turns, and the frame after them. `Problem` 404 where the session has ended."""
        turns = understood(Turns, body)
        with self._lock:
            self._tidy()
            found = self._sessions.get(name)
            if found is None:
                raise Problem(404, "Session over", "the experiment has ended; start it again")
            self._sessions[name] = (time.monotonic(), found[1])
            self._sessions.move_to_end(name)

        def go_on() -> dict[str, Any]:
            found[1].play(turns.turns, turns.only)
            return found[1].frame()

        return compute(go_on)

    def _tidy(self) -> None:
        limit = time.monotonic() - LIFETIME
        for name in [n for n, (used, _) in self._sessions.items() if used < limit]:
            del self._sessions[name]


Model = TypeVar("Model", bound=BaseModel)


def understood(model: type[Model], body: dict[str, Any]) -> Model:
    """A request's body, checked. (The lab is imported too late for the routes' own check.)"""
    try:
        return model(**body)
    except ValidationError as e:
        raise RequestValidationError([w | {"loc": ("body", *w["loc"])} for w in e.errors()]) from e
