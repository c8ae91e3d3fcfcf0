"""Are the health verdicts true? Trainings deliberately driven into each failure, and healthy
ones that must raise no alarm; the thresholds were set on none of these recipes' seeds.

    python benchmarks/health.py                    # every driven case, seed 0
    python benchmarks/health.py --healthy 20       # false alarms over 20 healthy short runs
    python benchmarks/health.py huge-d tiny-set    # some of them

    python benchmarks/health.py --table            # only docs/health.md, from the results

Looks are taken every so many images instead of seconds, so that the result does not depend on
the machine; the quick score takes 500 samples of each kind, the networks are narrow: a case
takes about a minute of one core. Each finished case is a small JSON under
benchmarks/results/health/, with the hash of the code that judged; what matches is not run
again, so the whole can be made in several sittings.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import re
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
from ganforge.judging import features, health, metrics, watch
from ganforge.judging.health import diagnose
from ganforge.judging.watch import Quick, Watch

RESULTS = Path(__file__).parent / "results" / "health"
PAGE = Path(__file__).parents[1] / "docs" / "health.md"
BLOCK = re.compile(r"(<!-- facts -->\n).*?(<!-- end -->)", re.S)
LOOKS, QUICK, EVERY = 10, 500, 5
ALARMS = {"collapse", "d-won", "memorising", "cycling", "diverged", "stalled"}


@dataclass(frozen=True)
class Case:
    """A training and the verdicts that would be right."""

    recipe: str
    right: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = "fashion-mnist-mini"
    images: int = 64_000


THIN = {"width": 8, "batch_size": 32, "lr": 1e-3}
DRIVEN = {
    "rate-of-one": Case("dcgan", ("diverged", "collapse"), THIN | {"lr": 1.0}),
    "huge-d": Case(
        "gan", ("d-won",),
        {"saturating": True, "lr.D": 2e-3, "lr.G": 2e-5, "width": 128, "batch_size": 32},
    ),
    "tiny-set": Case("dcgan", ("memorising",), THIN, "tiny"),
    "momentum": Case(
        "dcgan", ("cycling", "diverged", "collapse"), THIN | {"betas": (0.95, 0.99), "lr": 3e-3}
    ),
    "frozen-g": Case("dcgan", ("stalled",), THIN | {"lr.G": 1e-12}),
    "constant": Case("dcgan", ("converged", "stalled", "d-won"), THIN, "constant"),
    "one-class": Case("dcgan", ("collapse",), THIN, "half"),
}  # fmt: skip
"""What a training is driven into, and by what."""

WELL = ("dcgan", "lsgan", "dragan", "cgan", "infogan", "acgan", "r3gan", "wgan-gp", "vae")
FEWER = {"r3gan": {"width": 4}, "wgan-gp": {"lr": 5e-4}}
HEALTHY = {f"healthy-{n}": Case(n, ("healthy", "converged"), THIN | FEWER.get(n, {})) for n in WELL}
"""The family's trainings, narrower and with rates that show garments within a minute (those of the
pictures in docs/family.md); none may raise an alarm on the way. BEGAN is not among them: at this
length it keeps two or three kinds of garment, and the verdict says so."""

DATA = {
    "tiny": "64 pictures",
    "constant": "512 times the same picture",
    "half": "trained on one class of ten",
}
CASES = DRIVEN | HEALTHY


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
    looker.quick = Quick(looker.reference, n=QUICK, seed=seed)
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
        turn = trainer.turn(watch=trainer.step % EVERY == 0)
        broken = turn.non_finite()
        if turn.gradients or broken:
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
        if broken:
            break
    end = diagnose(records)
    return {
        "case": name, "seed": seed, "code": code_hash(case), "right": list(case.right),
        "alarms": alarms, "seconds": round(time.monotonic() - began, 1), **end,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# When the module is loaded: a file that is edited while it runs must not change the hash.
JUDGES = (health, watch, features.lite, features.resized, features.quantised, features.raw,
          metrics.kid, drive, sources)  # fmt: skip
CODE = [*map(inspect.getsource, JUDGES), str((LOOKS, QUICK, EVERY))]


def code_hash(case: Case) -> str:
    return hashlib.sha256("\0".join([*CODE, repr(case)]).encode()).hexdigest()[:16]


# -- the page ---------------------------------------------------------------------------
def kept() -> list[dict[str, Any]]:
    """All results, driven ones first, in the order of the cases."""
    found = [json.loads(p.read_text()) for p in RESULTS.glob("*.json")]
    order = list(CASES)
    return sorted(
        (r for r in found if r["case"] in CASES), key=lambda r: (order.index(r["case"]), r["seed"])
    )


def facts() -> str:
    """The tables, from the results."""
    results = kept()
    driven = [r for r in results if r["case"] in DRIVEN]
    well = [r for r in results if r["case"] in HEALTHY]
    done = {r["case"] for r in results}
    lines = [
        "| driven into it by | expected | verdict at the end | looks on the way | judged |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in driven:
        case = CASES[r["case"]]
        how = ", ".join([case.recipe, *(f"{k}={v}" for k, v in case.settings.items())])
        how += "" if case.data == "fashion-mnist-mini" else f", {DATA[case.data]}"
        mark = "right" if r["verdict"] in r["right"] else "**wrong**"
        way = ", ".join(f"{v} {r['alarms'].count(v)}" for v in dict.fromkeys(r["alarms"])) or "-"
        lines.append(
            f"| `{r['case']}`: {how} | {' or '.join(r['right'])} | {r['verdict']}: {r['sentence']} "
            f"| {way} | {mark} |"
        )
    missing = [n for n in DRIVEN if n not in done]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    wrong = [r for r in driven if r["verdict"] not in r["right"]]
    lines += ["", f"Right at the end: {len(driven) - len(wrong)} of {len(driven)}."]
    alarmed = [r for r in well if r["alarms"] or r["verdict"] in ALARMS]
    lines += [
        "",
        f"**False alarms: {len(alarmed)} of {len(well)} healthy short runs** (20 are asked for), each "
        f"looked at {LOOKS} times; one alarm at any look counts.",
        "",
        "| healthy run | seeds | verdicts at the end | false alarms on the way |",
        "| --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(r["case"] for r in well):
        mine = [r for r in well if r["case"] == name]
        ends = ", ".join(dict.fromkeys(r["verdict"] for r in mine))
        said = ", ".join(sorted({a for r in mine for a in r["alarms"]})) or "-"
        seeds = ", ".join(str(r["seed"]) for r in mine)
        lines.append(f"| {CASES[name].recipe} | {seeds} | {ends} | {said} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """docs/health.md with its block of facts made anew."""
    return BLOCK.sub(lambda m: m[1] + facts() + m[2], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--healthy", type=int, metavar="N", help="only healthy cases, N in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        PAGE.write_text(page(PAGE.read_text()))
        return
    names = [(n, args.seed) for n in args.cases or DRIVEN]
    if args.healthy:
        well = list(HEALTHY)
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
        PAGE.write_text(page(PAGE.read_text()))
    print(f"{len(names)} trainings, {wrong} wrong at the end, {false} healthy ones with an alarm")


if __name__ == "__main__":
    main()
