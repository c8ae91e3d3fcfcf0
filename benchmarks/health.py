"""Are the health verdicts true? Trainings deliberately driven into each failure, and healthy
ones that must raise no alarm; the thresholds were set on none of these recipes' seeds.

    python benchmarks/health.py                    # every case, seed 0
    python benchmarks/health.py --healthy 20       # false alarms over 20 healthy short runs
    python benchmarks/health.py huge-d tiny-set    # some of them

Looks are taken every so many images instead of seconds, so that the result does not depend on
the machine. Each finished case is a small JSON under benchmarks/results/health/, with the hash
of the code that judged; what matches is not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ganforge import recipes
from ganforge.build import build_game, build_trainer
from ganforge.config import resolve
from ganforge.data import Dataset, open_source
from ganforge.judging import features, health, watch
from ganforge.judging.health import diagnose
from ganforge.judging.watch import Watch

RESULTS = Path(__file__).parent / "results" / "health"
LOOKS = 12
ALARMS = {"collapse", "d-won", "memorising", "cycling", "diverged", "stalled"}


@dataclass(frozen=True)
class Case:
    """A training and the verdicts that would be right."""

    recipe: str
    right: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = "fashion-mnist-mini"
    images: int = 120_000


CASES = {
    "rate-of-one": Case("dcgan", ("diverged", "collapse"), {"width": 16, "lr": 1.0}),
    "huge-d": Case(
        "gan", ("d-won",), {"saturating": True, "lr.D": 2e-3, "lr.G": 2e-5, "width": 128}
    ),
    "tiny-set": Case("dcgan", ("memorising", "d-won"), {"width": 32}, "tiny"),
    "no-penalty": Case(
        "wgan", ("cycling", "diverged", "collapse"), {"objective.clip": 100.0, "lr": 5e-3}
    ),
    "frozen-g": Case("dcgan", ("stalled", "collapse", "d-won"), {"width": 16, "lr.G": 1e-12}),
    "constant": Case(
        "dcgan", ("collapse", "d-won", "converged", "stalled"), {"width": 16}, "constant"
    ),
    "one-class": Case("dcgan", ("collapse",), {"width": 16}, "half"),
    "healthy": Case("dcgan", ("healthy", "converged"), {"width": 16}),
    "healthy-r3gan": Case("r3gan", ("healthy", "converged"), {"width": 16}),
    "healthy-wgan-gp": Case("wgan-gp", ("healthy", "converged"), {"width": 16}),
}


def sources(name: str) -> tuple[Dataset, Dataset | None, Dataset]:
    """What is trained on, what is held out, and what the looks compare with."""
    train, test = (open_source(f"fashion-mnist-mini@{s}") for s in ("train", "test"))
    if name == "constant":
        flat = Dataset(np.full((512, 28, 28, 1), 90, np.uint8), name=name, fingerprint=name)
        return flat, None, flat
    if name == "tiny":
        some = train.raw(np.arange(64))
        tiny = Dataset(some, name=name, fingerprint=name)
        return tiny, test, tiny
    if name == "half":  # trained on one kind, judged by all: what a collapse would look like
        return open_source("fashion-mnist-mini:Trouser@train"), test, train
    return train, test, train


def drive(name: str, case: Case, seed: int) -> dict[str, Any]:
    """Train and look; the verdict at the end and the alarms on the way."""
    train, held_out, judged = sources(case.data)
    config = resolve(
        recipes.recipe(case.recipe), case.settings | {"seed": seed}, shape=tuple(train.shape),
        class_names=list(train.classes), data=case.data, dataset=train.describe(),
    )  # fmt: skip
    game = build_game(config)
    trainer = build_trainer(game, train)
    looker = Watch(judged, held_out, seed=seed)
    records: list[dict[str, Any]] = []
    sitting = SimpleNamespace(
        seconds=0.0, run=SimpleNamespace(records=lambda: records), game=game, trainer=trainer
    )
    began, alarms, due = time.monotonic(), [], case.images // LOOKS

    def record(**content: Any) -> None:
        seconds = time.monotonic() - began
        place = {"step": trainer.step, "images": trainer.images, "seconds": seconds}
        records.append(place | content)

    while trainer.images < case.images:
        turn = trainer.turn(watch=True)
        record(
            loss={k: _finite(v.item()) for k, v in turn.terms.items()},
            reading={k: _finite(v.mean().item()) for k, v in turn.readings.items()},
            grad={k: _finite(v) for k, v in turn.gradients.items()},
        )
        if trainer.images >= due:
            due += case.images // LOOKS
            found = looker._score(sitting)
            if found is not None:
                record(**found)
            record(**looker._pulse(sitting))
            verdict = records[-1]["health"]["verdict"]
            alarms += [verdict] if verdict in ALARMS else []
        if turn.non_finite():
            break
    end = diagnose(records)
    return {
        "case": name, "seed": seed, "code": code_hash(case), "right": list(case.right),
        "alarms": alarms, "seconds": round(time.monotonic() - began, 1), **end,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def code_hash(case: Case) -> str:
    parts = [inspect.getsource(m) for m in (health, watch, features)] + [repr(case)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--healthy", type=int, metavar="N", help="only healthy cases, N in all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = [(n, args.seed) for n in args.cases or CASES]
    if args.healthy:
        well = [n for n in CASES if n.startswith("healthy")]
        names = [(well[i % len(well)], args.seed + i // len(well)) for i in range(args.healthy)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    wrong = false = 0
    for name, seed in names:
        path = RESULTS / f"{name}-{seed}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        if found.get("code") != code_hash(CASES[name]):
            found = drive(name, CASES[name], seed)
            path.write_text(json.dumps(found, indent=1) + "\n")
        right = found["verdict"] in found["right"]
        wrong += not right
        false += name.startswith("healthy") and bool(found["alarms"])
        print(
            f"{'ok   ' if right else 'WRONG'} {name:16s} {found['verdict']:10s} {found['sentence']}"
        )
    print(f"{len(names)} trainings, {wrong} wrong at the end, {false} healthy ones with an alarm")


if __name__ == "__main__":
    main()
