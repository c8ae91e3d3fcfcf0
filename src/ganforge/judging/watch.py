"""Judging while training: a pulse and a quick score from time to time, within a share of the
wall clock. It draws by its own keys and works on copies, so it never touches the training.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.data import Dataset
from ganforge.judging import metrics as m
from ganforge.judging.features import Features, default_features, features
from ganforge.judging.health import Pulse, diagnose
from ganforge.judging.samples import Rows
from ganforge.judging.store import in_chunks
from ganforge.objectives.objective import per_sample
from ganforge.spec import Ask, Batch

QUICK = 2000
"""Samples of a quick score."""

PULSE = 512
"""Samples of a pulse; D sees half as many of each kind."""


def quick_features(shape: tuple[int, ...]) -> str:
    """What quick scores look through: the default features at the pictures' own size, which
    costs a CPU a tenth of the full one (2,000 of 32 pixels: 2 s of one core).

    On Fashion-MNIST they put the samples of a DCGAN after 250, 500, 900 and 1,600 steps, real
    data of five classes and real data in this order; before some 15,000 images all of its
    samples score as badly as noise. They are for following one training, not for a table.
    """
    name = default_features(shape)
    side = max(shape[1:], default=0)
    if name != "lite" or side > 64:
        return name
    return "lite@32" if side <= 32 else "lite@64"


class Quick:
    """KID and coverage of 2,000 samples against as many real ones, whose features are kept.

    Args:
        reference: real samples; held-out ones, if there are any.
        network: the feature network; see `quick_features` for the default.
        n: how many samples of each kind.

    Raises:
        UserError: too few real samples.
    """

    def __init__(
        self, reference: Dataset, network: Features | None = None, n: int = QUICK, seed: int = 0
    ) -> None:
        shape = tuple(reference.shape)
        self.n = min(n, len(reference))
        m.need("a quick score", m.FEWEST, real=self.n)
        self.network = network or features(
            quick_features(shape), shape, rate=getattr(reference, "rate", None)
        )
        self.rows = Rows(reference, self.n, seed)

    @cached_property
    def real(self) -> Tensor:
        """Features of the real samples."""
        key = None if self.rows.key is None else f"{self.network.hash}-{self.rows.key}"
        return in_chunks(lambda i, k: self.network(self.rows.at(i, k)), self.n, key)

    def seconds(self) -> float:
        """About how long the first score will take, from a few samples."""
        some = self.rows.at(0, min(64, self.n))
        self.network(some[:8])
        began = time.monotonic()
        self.network(some)
        return 2 * self.n * (time.monotonic() - began) / len(some)

    def score(self, fake: Tensor) -> dict[str, dict[str, float]]:
        """{"kid": {"value", "low", "high"}, "coverage": {...}} of samples (N, *shape).

        Raises:
            UserError: too few samples, or NaN.
        """
        x = self.network(fake)
        near = m.neighbourhoods(x, self.real)
        found = {"kid": m.kid(x, self.real, self.network.unit), "coverage": near["coverage"]}
        return {
            k: {"value": _short(v.value), "low": _short(v.low), "high": _short(v.high)}
            for k, v in found.items()
        }


class QuickFidelity:
    """PSNR and SSIM of what is made of held-out sources, where each belongs to a sample.

    Args:
        reference: a dataset with sources.
        n: how many.
    """

    def __init__(self, reference: Dataset, n: int = 256, seed: int = 0) -> None:
        self.rows = Rows(reference, min(n, len(reference)), seed)

    def score(self, make: Callable[[Batch], Tensor]) -> dict[str, dict[str, float]]:
        """{"psnr": {"value", "low", "high"}, "ssim": ...}."""
        from ganforge.judging.fidelity import measures, summary

        parts = []
        for start in range(0, len(self.rows), 64):
            b = self.rows.batch(start, min(64, len(self.rows) - start))
            parts.append(measures(make(b), b.real))
        known = [k for k in ("psnr", "ssim") if k in parts[0]]
        found = {k: summary(torch.cat([p[k] for p in parts])) for k in known}
        return {
            k: {"value": _short(v.value), "low": _short(v.low), "high": _short(v.high)}
            for k, v in found.items()
        }


class Playing(Protocol):
    """What a watch sees of a training: see ganforge.sitting."""

    seconds: float
    run: Any
    game: Any
    trainer: Any


class Watch:
    """Looks at a training when it is due.

    Args:
        train: what is trained on.
        held_out: samples like it that are not trained on, if there are any: only they show
            whether D memorises, and quick scores are taken against them.
        share: of the wall clock that looking may take. What it has taken so far decides when
            the next look is due.
        network: of the quick score.
    """

    def __init__(
        self,
        train: Dataset,
        held_out: Dataset | None = None,
        *,
        share: float = 0.05,
        network: Features | None = None,
        seed: int = 0,
    ) -> None:
        self.seed, self.network = seed, network
        self.train = Rows(train, PULSE, seed)
        self.everything = Rows(train, 10_000, seed)
        self.held_out = None if held_out is None else Rows(held_out, PULSE // 2, seed)
        self.reference = train if held_out is None else held_out
        # A purse each, so that many cheap pulses leave enough for a dear score.
        self.purse = {"pulse": 0.4 * share, "score": 0.6 * share}
        self.taken = {"pulse": 0.0, "score": 0.0}
        self.cost = {"pulse": 0.2, "score": 0.0}
        self.gap = {"pulse": 5.0, "score": 20.0}
        self.next = {"pulse": 5.0, "score": 15.0}
        # Where sources belong to samples, nearness is a score too; without a D the only one.
        pictures = len(self.reference.shape) == 3
        self.paired = getattr(self.reference, "paired", False) and pictures
        self.scores = len(self.reference) >= m.FEWEST

    @property
    def spent(self) -> float:
        """Seconds of looking so far."""
        return sum(self.taken.values())

    @cached_property
    def pulse(self) -> Pulse:
        batch = self.train.batch(0, len(self.train))
        return Pulse(batch.real, batch.label, self.seed)

    @cached_property
    def quick(self) -> Quick:
        return Quick(self.reference, self.network, seed=self.seed)

    @cached_property
    def near(self) -> QuickFidelity:
        return QuickFidelity(self.reference, seed=self.seed)

    def look(self, sitting: Playing) -> Iterator[dict[str, Any]]:
        """What there is to record now: {"score": ...}, {"health": ...}, or nothing."""
        for what in ("score", "pulse"):
            if not self._due(what, sitting.seconds):
                continue
            began = time.monotonic()
            found = self._score(sitting) if what == "score" else self._pulse(sitting)
            self.cost[what] = time.monotonic() - began
            self.taken[what] += self.cost[what]
            self.next[what] = sitting.seconds + self.gap[what]
            if found is not None:
                yield found

    def _due(self, what: str, seconds: float) -> bool:
        if seconds < self.next[what] or (what == "score" and not self.scores):
            return False
        if what == "score" and not self.cost[what]:
            began = time.monotonic()
            self.cost[what] = 1.0 if self.paired else self.quick.seconds()
            self.taken[what] += time.monotonic() - began
        return self.taken[what] + self.cost[what] <= self.purse[what] * seconds

    # -- the quick score, by the averaged networks, as they are shown ---------------------
    def _score(self, sitting: Playing) -> dict[str, Any] | None:
        nets = sitting.trainer.ema.nets
        near = {}
        if self.paired:
            near = self.near.score(lambda b: self._made(sitting, nets, b))
            if "D" not in sitting.trainer.nets:
                return {"score": near}
        fake, _ = self.samples(sitting, nets, "score", self.quick.n)
        if not torch.isfinite(fake).all():
            return None
        return {"score": self.quick.score(fake) | near}

    # -- the pulse, by the networks that are being trained --------------------------------
    def _pulse(self, sitting: Playing) -> dict[str, Any]:
        nets = copy.deepcopy(sitting.trainer.nets).requires_grad_(False)
        for part in nets.modules():  # a compiled method stays bound to what was copied
            if callable(getattr(type(part), "outputs", None)):
                part.__dict__.pop("outputs", None)
        fake, label = self.samples(sitting, nets, "pulse", PULSE)
        pulse = self.pulse.take(fake, label, self._scores(sitting, nets, fake, label))
        now = {
            "step": sitting.trainer.step,
            "images": sitting.trainer.images,
            "health": {"evidence": {"pulse": pulse}},
        }
        return {"health": diagnose([*sitting.run.records(), now])}

    @torch.no_grad()
    def _scores(
        self, sitting: Playing, nets: nn.ModuleDict, fake: Tensor, label: Tensor | None
    ) -> dict[str, Tensor]:
        """D's scores of training, held-out and generated samples."""
        game = sitting.game.objective
        if "D" not in nets or not hasattr(game, "judge"):
            return {}
        half = PULSE // 2
        like = self._like(torch.arange(half), "cpu") if sitting.game.spec.source else None
        forged = Batch(fake[:half], _part(label, half), None if like is None else like.source)
        sets = {"train": self.train.batch(0, half), "fake": forged}
        if self.held_out is not None:
            sets["held_out"] = self.held_out.batch(0, half)
        out = {}
        for name, batch in sets.items():
            batch = _to(batch, sitting.game.device)
            with draws.keyed(self.seed, f"pulse/{name}", torch.arange(len(batch))):
                score = game.judge(nets, batch.real, batch)["score"]
            out[name] = per_sample(score).float().cpu()
        return out

    @torch.no_grad()
    def samples(
        self, sitting: Playing, nets: nn.ModuleDict, purpose: str, n: int
    ) -> tuple[Tensor, Tensor | None]:
        """n samples, always of the same latents, labels and sources, and their labels."""
        game, spec, device = sitting.game.objective, sitting.game.spec, sitting.game.device
        latent = game.latent if spec.source is None else None
        parts, labels = [], []
        for start in range(0, n, 250):
            index = torch.arange(start, min(start + 250, n))
            given = self._like(index, device) if spec.classes or spec.source else None
            with draws.keyed(self.seed, f"watch/{purpose}", index):
                z = None if latent is None else latent.draw(len(index)).to(device)
                y = given.label if given is not None and spec.classes else None
                source = None if given is None else given.source
                parts.append(game.sample(nets, Ask(z, y, source)).float().cpu())
            if y is not None:
                labels.append(y.cpu())
        return torch.cat(parts), torch.cat(labels) if labels else None

    @torch.no_grad()
    def _made(self, sitting: Playing, nets: nn.ModuleDict, batch: Batch) -> Tensor:
        """What is made of a batch's sources, (N, *shape) on the CPU."""
        source = _to(batch, sitting.game.device).source
        return sitting.game.objective.sample(nets, Ask(source=source)).float().cpu()

    def _like(self, index: Tensor, device: Any) -> Batch:
        """Training samples of these numbers, going round."""
        order = self.everything.indices(0, len(self.everything))
        return _to(self.everything.dataset.batch(order[index.numpy() % len(order)]), device)


def _part(label: Tensor | None, n: int) -> Tensor | None:
    return None if label is None else label[:n]


def _to(batch: Batch, device: Any) -> Batch:
    label = None if batch.label is None else batch.label.to(device)
    source = None if batch.source is None else batch.source.to(device)
    return Batch(batch.real.to(device), label, source)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
