"""Modes found on PacGAN's ring and grid, recipe by recipe, seed by seed.

    python benchmarks/modes.py r3gan gan --seeds 10     # train what is missing, then the table
    python benchmarks/modes.py --table                  # only docs/modes.md, from the results

Each finished (recipe, toy, seed) is a small JSON under benchmarks/results/modes with the
hash of the code that made it; what is there by the same code is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "modes", ROOT / "docs" / "modes.md"
CODE = ("draws.py", "toys.py", "judging/modes.py", "families/mlp.py", "objectives/*.py",
        "training/trainer.py", "training/ema.py", "recipes/{recipe}.py")  # fmt: skip
MINUTES = 3.0


def code_hash(recipe: str) -> str:
    """Of what a result depends on."""
    digest = hashlib.sha256()
    for pattern in CODE:
        name = pattern.format(recipe=recipe.replace("-", "_"))
        for path in sorted((ROOT / "src" / "ganforge").glob(name)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def run(recipe: str, toy: str, seed: int) -> dict:
    from ganforge import recipes
    from ganforge.sitting import Budget
    from ganforge.toys import NETWORKS, play

    path, mark = RESULTS / f"{recipe}-{toy}-{seed}.json", code_hash(recipe)
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["code"] == mark:
            return kept
    horizon = recipes.recipe(recipe).toy.get("horizon", NETWORKS["horizon"])
    found = play(toy, recipe, seed=seed, budget=Budget(images=horizon, minutes=MINUTES))
    found |= {"toy": toy, "code": mark}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def passes(r: dict) -> bool:
    """The mark: all modes, high-quality share >= 0.80, reverse KL <= 0.10."""
    kl = r["kl"]
    return r["modes"] == r["total"] and r["high_quality"] >= 0.8 and kl is not None and kl <= 0.1


def groups() -> dict[tuple[str, str], list[dict]]:
    """Results by (recipe, toy)."""
    found: dict[tuple[str, str], list[dict]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        r = json.loads(path.read_text())
        found.setdefault((r["recipe"], r["toy"]), []).append(r)
    return found


def page() -> str:
    """docs/modes.md, from the results."""
    lines = [
        "# Modes",
        "",
        "Made by `python benchmarks/modes.py RECIPE ... --seeds N`; not edited by hand. PacGAN's ring (8",
        "Gaussians, sigma 0.01) and grid (25, sigma 0.05), its networks and counting, 2,500 samples; each",
        "recipe's own optimiser, at most 3 minutes of one core a run. A perfect sampler has a high-quality",
        "share of 0.989. The mark: all modes, share >= 0.80, reverse KL <= 0.10.",
        "",
        "| recipe | toy | seeds | modes, mean | high quality, median | reverse KL, median | runs that reach the mark |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (recipe, toy), rs in sorted(groups().items()):
        kls = [r["kl"] for r in rs if r["kl"] is not None]
        lines.append(
            f"| {recipe} | {toy} | {', '.join(str(r['seed']) for r in sorted(rs, key=lambda r: r['seed']))} "
            f"| {statistics.mean(r['modes'] for r in rs):.1f} of {rs[0]['total']} "
            f"| {statistics.median(r['high_quality'] for r in rs):.3f} "
            f"| {f'{statistics.median(kls):.3f}' if kls else 'undefined'} "
            f"| {sum(map(passes, rs))} of {len(rs)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=["r3gan"])
    parser.add_argument("--toys", nargs="+", default=["ring", "grid"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if not args.table:
        for seed in range(args.seeds):
            for recipe in args.recipes:
                for toy in args.toys:
                    run(recipe, toy, seed)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
