"""Is this training healthy? `Pulse` measures a game cheaply while it is played; `diagnose`
turns what was recorded into one verdict, one plain sentence and a remedy.

Nothing here knows a paper. What the verdicts rest on:

    diverged     a term or a parameter was not finite, or the score is far worse than it was
    collapse     generated samples are alike, or whole regions of the real data get none
    d-won        D tells every sample apart, and G no longer gets better
    memorising   D scores training samples above held-out ones
    cycling      G wanders between regions of the data without getting better
    stalled      the score is flat, and no better than at the beginning
    converged    the score is flat within its interval, and better than at the beginning
    healthy      none of these
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.judging.features import raw

VERDICTS = (
    "healthy", "collapse", "d-won", "memorising", "cycling", "diverged", "stalled", "converged",
)  # fmt: skip

REGIONS = 24
"""Regions that the real data are divided into, to see which ones are visited."""


@dataclass(frozen=True)
class Thresholds:
    """Where a verdict begins. Proved on runs driven into each failure and on healthy ones."""

    diversity: float = 0.35  # of the real samples' mean distance
    dead: float = 1e-3  # diversity below which G ignores its latents; a new G has a few percent
    lost: float = 0.45  # share of the real data in regions without samples
    auc: float = 0.995  # chance that D ranks a held-out real sample above a generated one
    memory: float = 0.75  # chance that D ranks a training sample above a held-out one
    moved: float = 0.35  # share of the samples that changed their region between two pulses
    drift: float = 1e-3  # of the distance of two real samples, below which G stands still
    worse: float = 3.0  # times the best score
    better: float = 0.6  # of the first score, where "better than at the beginning" begins
    left: float = 0.8  # of the first score, above which a gain may be chance
    pulses: int = 3  # in a row, before anything is said
    scores: int = 6  # before a curve is called flat
    warm_up: int = 20_000  # images, and
    turns: int = 1000  # turns: before, samples are alike and D is ahead in every training


LIMITS = Thresholds()


# -- measuring --------------------------------------------------------------------------
class Pulse:
    """Cheap measurements of a game in progress, from a few hundred samples of each kind.

    Args:
        real: (N, *shape) training samples in [-1, 1].
        label: their labels, (N,), or None.
        seed: of the regions.
    """

    def __init__(self, real: Tensor, label: Tensor | None = None, seed: int = 0) -> None:
        from scipy.cluster.vq import kmeans2

        self.look = raw(tuple(real.shape[1:]))
        x = self.look(real)
        self.scale = x.std(0).clamp_min(1e-6).mean()
        self.centres = torch.from_numpy(
            kmeans2(x.numpy(), min(REGIONS, len(x)), minit="++", rng=np.random.default_rng(seed))[0]
        )
        self.share = self._shares(x)
        self.spread = spread(x, label)
        self.before: tuple[Tensor, Tensor] | None = None

    def take(
        self,
        fake: Tensor,
        label: Tensor | None = None,
        scores: Mapping[str, Tensor] | None = None,
    ) -> dict[str, float | None]:
        """Measure.

        Args:
            fake: (N, *shape) samples of the generator that is being trained, always of the
                same latents.
            label: (N,) their labels, or None.
            scores: D's scores (N,) of "train", "held_out" and "fake" samples, where there
                is a D. Only their order matters.

        Returns:
            diversity: mean distance of two samples as a share of that of two real ones,
                within classes where there are labels.
            lost: share of the real data in regions that get less than a tenth of their due.
            moved: share of the samples by which the visits to regions differ from the last
                pulse's.
            drift: how far a sample of the same latent went since the last pulse, as a share
                of the distance of two real ones.
            auc: chance that D ranks a held-out sample (a training one, where none are held
                out) and a generated one apart: 0.5 cannot tell, 1 always.
            memory: chance that D ranks a training sample and a held-out one apart.
        """
        if not torch.isfinite(fake).all():
            return dict.fromkeys(("diversity", "lost", "moved", "drift", "auc", "memory"))
        x = self.look(fake)
        visits = self._shares(x)
        lost = self.share[visits < 0.1 * self.share].sum().item()
        moved = drift = None
        if self.before is not None and len(self.before[0]) == len(x):
            moved = (visits - self.before[1]).abs().sum().item() / 2
            drift = (x - self.before[0]).norm(dim=1).mean().item() / self.spread
        self.before = (x, visits)
        s = scores or {}
        real = s.get("held_out", s.get("train"))
        found = {
            "diversity": spread(x, label) / self.spread,
            "lost": lost,
            "moved": moved,
            "drift": drift,
            "auc": apart(real, s["fake"]) if real is not None and "fake" in s else None,
            "memory": apart(s["train"], s["held_out"]) if {"train", "held_out"} <= set(s) else None,
        }
        return {k: None if v is None else round(v, 4) for k, v in found.items()}

    def _shares(self, x: Tensor) -> Tensor:
        """Which share of the samples each region gets."""
        region = torch.cdist(x, self.centres).argmin(1)
        return torch.bincount(region, minlength=len(self.centres)) / len(x)


def spread(x: Tensor, label: Tensor | None = None) -> float:
    """The mean distance of two different samples; of one class, where there are labels."""
    parts = [x] if label is None else [x[label == k] for k in label.unique()]
    means = [torch.pdist(p).mean().item() for p in parts if len(p) > 1]
    return max(float(np.mean(means)) if means else 0.0, 1e-12)


def apart(a: Tensor, b: Tensor) -> float:
    """The chance that a score of the one and a score of the other are in the right order,
    whichever order that is: 0.5 to 1."""
    a, b = a.flatten(), b.flatten()
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return math.nan
    less = (a[:, None] < b).float() + 0.5 * (a[:, None] == b).float()
    chance = less.mean().item()
    return max(chance, 1 - chance)


# -- judging ----------------------------------------------------------------------------
def diagnose(records: Sequence[Mapping[str, Any]], limits: Thresholds = LIMITS) -> dict[str, Any]:
    """The verdict on a training from its records.

    Returns:
        {"verdict", "sentence", "remedy", "evidence"}.
    """
    case = Case(records, limits)
    for rule in (diverged, stuck, collapse, won, memorising, cycling, flat):
        found = rule(case)
        if found is not None:
            return found
    return healthy(case)


class Case:
    """What the records say, in the form that the rules ask for."""

    def __init__(self, records: Sequence[Mapping[str, Any]], limits: Thresholds) -> None:
        self.limits = limits
        self.ticks = [r for r in records if "loss" in r]
        self.events = [r for r in records if "event" in r]
        self.scores = [r for r in records if "score" in r and self._kid(r) is not None]
        self.pulses = [
            {"images": r["images"], "step": r["step"], **r["health"]["evidence"]["pulse"]}
            for r in records
            if isinstance(r.get("health"), Mapping)
            and isinstance(r["health"].get("evidence", {}).get("pulse"), Mapping)
        ]
        self.images = records[-1]["images"] if records else 0
        turns = records[-1]["step"] if records else 0
        self.warm = self.images >= limits.warm_up and turns >= limits.turns

    @staticmethod
    def _kid(record: Mapping[str, Any]) -> float | None:
        return (record["score"].get("kid") or {}).get("value")

    @property
    def kids(self) -> np.ndarray:
        return np.array([self._kid(r) for r in self.scores], float)

    def penalty(self) -> str:
        """A gradient penalty to advise: more of it, where D has one."""
        has = self.ticks and {"D/r1", "D/r2", "D/gp", "D/gp-data"} & self.ticks[-1]["loss"].keys()
        return "a larger gradient penalty" if has else "a gradient penalty (--add r1=1)"

    def width(self) -> float:
        """Half of the last score's interval."""
        kid = self.scores[-1]["score"]["kid"]
        return max((kid.get("high", kid["value"]) - kid.get("low", kid["value"])) / 2, 1e-9)

    def last(self, name: str, count: int | None = None) -> list[float]:
        """The last pulses' values, as many as make a verdict; empty if there are fewer."""
        count = count or self.limits.pulses
        values = [p.get(name) for p in self.pulses][-count:]
        whole = [float(v) for v in values if v is not None and math.isfinite(v)]
        return whole if len(whole) == count else []

    def improving(self) -> bool:
        """Whether the last score is better than the best of the earlier ones, by more than its
        interval; true where there are too few to tell."""
        kids = self.kids
        if len(kids) < 3:
            return True
        return bool(kids[-2:].min() < kids[:-2].min() - 0.5 * self.width())

    def gaining(self) -> bool:
        """Whether enough scores say that it is getting better, and that it has come away from
        where it began."""
        kids = self.kids
        return len(kids) >= 3 and self.improving() and kids[-1] < self.limits.left * kids[0]

    def ever(self, name: str) -> bool:
        """Whether a pulse's value was once above its limit."""
        limit = getattr(self.limits, name)
        return any((p.get(name) or 0) >= limit for p in self.pulses)

    def report(
        self, verdict: str, sentence: str, remedy: str, **evidence: float | str | None
    ) -> dict[str, Any]:
        kept: dict[str, Any] = {k: _short(v) for k, v in evidence.items()}
        if self.pulses:
            names = ("diversity", "lost", "moved", "drift", "auc", "memory")
            kept["pulse"] = {k: self.pulses[-1].get(k) for k in names}
        if self.scores:
            kept["kid"] = _short(float(self.kids[-1]))
            kept["best_kid"] = _short(float(self.kids.min()))
        return {"verdict": verdict, "sentence": sentence, "remedy": remedy, "evidence": kept}


Rule = Callable[[Case], dict[str, Any] | None]


def diverged(case: Case) -> dict[str, Any] | None:
    rollbacks = sum(e["event"] == "rollback" for e in case.events)
    stopped = next((e for e in reversed(case.events) if e["event"] == "stop"), None)
    if stopped is not None and str(stopped.get("message", "")).startswith("diverged"):
        return case.report(
            "diverged",
            f"The training broke down: {stopped['message'].removeprefix('diverged: ')}.",
            "Lower the rates (--set lr=...), or strengthen D's penalty.",
            rollbacks=rollbacks,
        )
    broken = sorted({k for t in case.ticks[-3:] for k, v in t["loss"].items() if v is None})
    if broken:
        return case.report(
            "diverged",
            f"{broken[0]} is not a number any more.",
            "It goes back to the last good checkpoint with halved rates by itself; if that happens "
            "again, lower the rates (--set lr=...).",
            terms=", ".join(broken),
        )
    kids = case.kids
    if len(kids) >= 4:
        best = float(kids.min())
        bad = float(kids[-2:].min())
        clear = 10 * case.width()
        if bad > case.limits.worse * max(best, 0) + clear and bad > 0.5 * float(kids.max()):
            step = case.scores[int(kids.argmin())]["step"]
            return case.report(
                "diverged",
                f"The samples got much worse: the distance to the real ones is {bad:.3g}, and was "
                f"{best:.3g} at step {step}.",
                "Use the best checkpoint (--checkpoint best); next time lower the rates or let them "
                "fall (--set rate_end=0.1).",
                best_step=step,
            )
    if rollbacks >= 2:
        return case.report(
            "diverged",
            f"The training was rolled back {rollbacks} times after values that were not finite.",
            "Start again with a lower rate.",
            rollbacks=rollbacks,
        )
    return None


def stuck(case: Case) -> dict[str, Any] | None:
    """G stands still although its gradient has not faded: no rate, not a D that has won."""
    drift, left = case.last("drift"), _gradient_left(case, "G")
    if not drift or max(drift) >= case.limits.drift or not case.warm:
        return None
    if left is None or left < 0.5:
        return None
    return case.report(
        "stalled",
        "G does not change: the same latents give the same samples, though its gradient is there.",
        "Raise G's rate (--set lr.G=...), or see whether a schedule has brought it to nothing.",
        drift=drift[-1],
        gradient_left=left,
    )


def collapse(case: Case) -> dict[str, Any] | None:
    limits = case.limits
    if not case.warm or case.gaining():
        return None
    diversity, lost = case.last("diversity"), case.last("lost")
    if diversity and limits.dead < max(diversity) < limits.diversity and not case.ever("diversity"):
        # They never varied more than those of a new G: if D has won, that is why, and not that
        # G gave variety up. One that ignores its latents has given up even that.
        never = won(case)
        if never is not None:
            return never
    remedy = (
        f"Steady D with {case.penalty()}, give G a lower rate (--set lr.G=...), or use "
        "the recipe r3gan, which compares samples in pairs."
    )
    if diversity and max(diversity) < limits.diversity:
        return case.report(
            "collapse",
            f"The samples are alike: two of them differ only {diversity[-1]:.0%} as much as two real "
            "ones do.",
            remedy,
            diversity=diversity[-1],
        )
    if lost and min(lost) > limits.lost:
        return case.report(
            "collapse",
            f"Whole kinds are missing: the regions that hold {lost[-1]:.0%} of the real data get "
            "almost no samples.",
            remedy,
            lost=lost[-1],
        )
    return None


def won(case: Case) -> dict[str, Any] | None:
    auc = case.last("auc")
    if not auc or min(auc) < case.limits.auc or not case.warm:
        return None
    real, fake = _reading(case, "D(x)"), _reading(case, "D(G(z))")
    saturated = real is not None and fake is not None and real > 0.97 and fake < 0.03
    faded = _gradient_left(case, "G")
    starved = faded is not None and faded < 1e-3
    if case.gaining() or not (saturated or starved):
        return None
    why = (
        f"it gives real samples {real:.2f} and generated ones {fake:.2f}"
        if saturated
        else f"G's gradient has fallen to {faded:.1g} of what it was"
    )
    return case.report(
        "d-won",
        f"D has won: it tells {auc[-1]:.1%} of the samples apart, {why}, so G learns nothing.",
        f"Weaken D: a lower rate (--set lr.D=...), {case.penalty()}, fewer moves or "
        "less width; or use the non-saturating loss.",
        auc=auc[-1],
        d_real=real,
        d_fake=fake,
        gradient_left=faded,
    )


def memorising(case: Case) -> dict[str, Any] | None:
    memory = case.last("memory")
    if not memory or min(memory) < case.limits.memory:
        return None
    return case.report(
        "memorising",
        f"D is memorising: it knows {memory[-1]:.0%} of the training samples from held-out ones, "
        "where 50% is chance; G's samples will get worse.",
        "Use more data or augmentation (--set augment=color,translation,cutout), a smaller D, or "
        "stop here and use the best checkpoint.",
        memory=memory[-1],
    )


def cycling(case: Case) -> dict[str, Any] | None:
    moved = case.last("moved", case.limits.pulses + 1)
    if not moved or not case.warm:
        return None
    if sorted(moved)[1] < case.limits.moved or case.gaining():
        return None
    return case.report(
        "cycling",
        f"G and D chase each other: from one look to the next {moved[-1]:.0%} of the samples move "
        "to other regions of the data, and the score does not improve.",
        f"Damp the game: {case.penalty()}, lower rates, a longer average "
        "(--set ema=20000), betas (0, 0.99).",
        moved=moved[-1],
    )


def flat(case: Case) -> dict[str, Any] | None:
    """Converged or stalled: no trend over the last half of the scores, beyond their noise."""
    drift = case.last("drift")
    if drift and max(drift) < case.limits.drift and case.warm:
        return case.report(
            "stalled",
            "G does not change any more: the same latents give the same samples.",
            "Raise the rates, or see whether a schedule or a clipped gradient has stopped G.",
            drift=drift[-1],
        )
    kids = case.kids
    if len(kids) < case.limits.scores or not case.warm:
        return None
    half = kids[len(kids) // 2 :]
    at = np.array([r["images"] for r in case.scores[len(kids) // 2 :]], float)
    if at[-1] <= at[0] or at[0] < case.limits.warm_up:
        return None
    t = (at - at[0]) / (at[-1] - at[0])
    slope, level = np.polyfit(t, half, 1)
    noise = max(case.width(), float((half - (slope * t + level)).std()))
    if slope < -noise:  # over this half it still gained more than a score's uncertainty
        return None
    if half.mean() <= case.limits.better * kids[0]:
        return case.report(
            "converged",
            f"The score is flat within its interval since image {int(at[0]):,}: more training "
            "changes nothing.",
            "Stop now and use the best checkpoint; for better samples use more width, more data or "
            "another recipe.",
            slope=float(slope),
            interval=case.width(),
            since=float(at[0]),
        )
    if kids.min() < case.limits.left * kids[0]:
        return None  # neither where it began nor clearly anywhere else
    return case.report(
        "stalled",
        f"The score is flat and hardly better than at the beginning ({half[-1]:.3g} after "
        f"{kids[0]:.3g}).",
        "Try another rate for G and D, a wider network, or the recipe r3gan.",
        slope=float(slope),
        first=float(kids[0]),
    )


def healthy(case: Case) -> dict[str, Any]:
    pulse = case.pulses[-1] if case.pulses else {}
    varied = (pulse.get("diversity") or 0) > case.limits.diversity
    if not varied or not case.warm:
        sentence = "Nothing is wrong so far; it is too early to say more."
    elif case.gaining():
        sentence = "The training is healthy: the samples are varied and still getting better."
    else:
        sentence = "The training is healthy: the samples are varied and D has not won."
    return case.report("healthy", sentence, "Nothing to do; let it train.")


def _reading(case: Case, name: str) -> float | None:
    """Median over the last ticks, where the reading is a probability."""
    values = [t["reading"].get(name) for t in case.ticks[-10:] if t.get("reading")]
    known = [v for v in values if v is not None]
    if not known or not all(0 <= v <= 1 for v in known):
        return None
    return float(np.median(known))


def _gradient_left(case: Case, player: str) -> float | None:
    """The last gradients' median as a share of the largest median over as many ticks."""
    norms = [t["grad"].get(player) for t in case.ticks if t.get("grad")]
    known = np.array([v for v in norms if v is not None], float)
    if len(known) < 20:
        return None
    edges = np.linspace(0, len(known), 9).astype(int)
    medians = [float(np.median(known[a:b])) for a, b in pairwise(edges) if b > a]
    return float(np.median(known[-10:])) / max(max(medians), 1e-30)


def _short(value: float | str | None) -> float | str | None:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
