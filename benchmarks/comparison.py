"""docs/comparison.md: the whole family on Fashion-MNIST, 4 minutes of two cores each, 2 seeds.

    python benchmarks/comparison.py dcgan wgan-gp    # what is missing of these, then the page
    python benchmarks/comparison.py                  # what is missing of the whole family
    python benchmarks/comparison.py --table          # only the page, from the results

It is `ganforge compare`, recipe by recipe: each finished (recipe, seed) is a JSON file (and its
last samples) under benchmarks/results/comparison/results, with the hash of the code that made
it; what is there by the same code is not done again, and an interrupted training goes on. So
the page can be made in several sittings and continued by anyone: `--seeds 5` adds three more,
`--minutes 20` a second table. Two cores alone, nothing else running; a recipe takes about
6 minutes a seed. `benchmarks/results/comparison/comparison.html` is then the page of curves
and samples of all that is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "comparison", ROOT / "docs" / "comparison.md"
DATA, SIZE, SAMPLES, MINUTES, SEEDS = "fashion-mnist", 32, 10_000, 4.0, 2

NARROW: dict[str, Any] = {"width": 16}
FAMILY: dict[str, dict[str, Any]] = {
    "auto": {}, "dcgan": NARROW, "wgan-gp": NARROW, "lsgan": NARROW, "dragan": NARROW,
    "wgan": NARROW, "began": NARROW, "ebgan": NARROW, "r3gan": NARROW, "sngan": NARROW,
    "biggan": NARROW, "cgan": NARROW, "acgan": NARROW, "infogan": NARROW, "gan": {},
    "frogs": {}, "vae": NARROW, "ae": NARROW,
}  # fmt: skip
"""Every recipe that makes pictures from noise, and what is set: a width of 16 (usually 64; 32
for biggan), so that 4 minutes show something; `gan` and `frogs` stay as they are, `auto`
plans its own."""

LUCIC = {
    "dcgan": ("NS GAN", "26.5 ± 1.6"),
    "lsgan": ("LSGAN", "30.7 ± 2.2"),
    "wgan": ("WGAN", "21.5 ± 1.6"),
    "wgan-gp": ("WGAN GP", "24.5 ± 2.1"),
    "dragan": ("DRAGAN", "27.7 ± 1.2"),
    "began": ("BEGAN", "22.9 ± 0.9"),
}
"""Table 2 of Lucic et al. 2018 (arXiv 1711.10337), Fashion-MNIST, by the reprint of Dai and
Wipf 2019; what is not in the reprint is left out."""


def train(names: Sequence[str], seeds: int, minutes: float) -> None:
    from ganforge import compare as c

    for name in names:
        c.compare(
            [name], DATA, out=RESULTS, seeds=seeds, minutes=minutes, samples=SAMPLES,
            sweep={k: [v] for k, v in FAMILY[name].items()}, features="lite",
            options={"size": SIZE},
        )  # fmt: skip
        write()


def kept() -> list[dict[str, Any]]:
    """All results, in the order of their files."""
    return [json.loads(p.read_text()) for p in sorted(RESULTS.glob("results/*.json"))]


def write() -> None:
    """The page, and the interactive one of all that is kept at the usual budget."""
    from ganforge import compare as c

    same = [r for r in kept() if r["minutes"] == MINUTES]
    if same:
        c.write_tables(same, RESULTS, DATA)
    PAGE.write_text(page())


# -- the page ---------------------------------------------------------------------------
def page() -> str:
    results = kept()
    lines = [
        "# The family compared",
        "",
        "Made by `python benchmarks/comparison.py` from results that are kept recipe by recipe; not edited by",
        f"hand. `ganforge compare` on Fashion-MNIST at {SIZE} x {SIZE} px: every recipe trains for the same wall",
        f"clock on two cores, with `--set width=16` (a quarter of the usual 64, so that {MINUTES:g} minutes show",
        "something; half of biggan's, r3gan's own), `gan` and `frogs` at their one size, `auto` by its own plan; all else",
        "as the recipe has it. Nothing was tuned for this page, but `auto` was, earlier, on this data set, and it is told the",
        "classes: its place is not on equal terms. (At 32 px its networks have a layer more than at the 28 px of",
        "[time-to-quality.md](time-to-quality.md), and see a third of the pictures a second.) Scored by averaged weights where the",
        "recipe averages, at the end of the budget, whatever it looks like then. No seed is left out. *Coverage*: the share of",
        "real pictures with a generated one near; *lost*: trainings whose health verdict at the end is a failure; *cut*: stopped early.",
    ]  # fmt: skip
    budgets = sorted({r["minutes"] for r in results})
    if not results:
        lines += ["", "Not measured yet."]
    for minutes in budgets:
        lines += measured([r for r in results if r["minutes"] == minutes], minutes)
    here = [r for r in results if r["minutes"] == MINUTES]
    return "\n".join(lines + beside(here) + ADVICE) + "\n"


def measured(results: list[dict[str, Any]], minutes: float) -> list[str]:
    """The table of one budget, the quick score on the way, the samples."""
    from ganforge import compare as c

    found = c.rows(results)
    missing = [n for n in FAMILY if n not in {r["recipe"] for r in results}]
    lines = ["", f"## {minutes:g} minutes", ""]
    lines += c.markdown(found, results, DATA, c.differences(results)).rstrip("\n").split("\n")
    if missing:
        lines += ["", f"Still open: {', '.join(missing)}."]
    fewer = [r["variant"] for r in found if r["seeds"] < SEEDS]
    if fewer:
        lines += ["", f"Of {SEEDS} seeds one is still open: {', '.join(fewer)}."]
    lines += ["", *facts(found, results), "", *on_the_way(found, results, minutes)]
    pictures = [p for r in found if (p := _picture(r, results)) is not None]
    if pictures:
        lines += ["", "The samples of each recipe's best seed, best recipe first:", "", *pictures]
    return lines


def facts(found: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[str]:
    """What the numbers say, without an opinion."""
    from itertools import pairwise
    from statistics import median

    from ganforge.compare import LOST

    seen = sorted((r["images_seen"], r["variant"]) for r in results)
    lines = [
        f"- D (or what learns in its place) saw from {seen[0][0]:,} pictures ({seen[0][1]}) to "
        f"{seen[-1][0]:,} ({seen[-1][1]}): the same seconds, not the same training."
    ]
    pairs = [r for r in found if r["deviation"] is not None and r["mean"]]
    if len(pairs) > 1:
        means = [r["mean"] for r in pairs]
        typical = median(r["deviation"] for r in pairs)
        near = sum(b - a < 2 * typical for a, b in pairwise(means))
        lines.append(
            f"- The deviation between seeds is {typical:.3g} in the median of the rows; {near} of the "
            f"{len(means) - 1} steps from one row to the next are smaller than twice that, so those "
            "neighbours are not told apart by so few seeds."
        )
    lost = [
        f"{r['variant']} (seed {r['seed']}): {r['health']}" for r in results if r["health"] in LOST
    ]
    lines.append(f"- Lost by their health verdict: {'; '.join(lost) if lost else 'none'}.")
    cpu = sorted(r["cpu_seconds"] / r["seconds"] for r in results if r.get("cpu_seconds"))
    if cpu:
        lines.append(
            f"- The machine gave a training from {cpu[0]:.2f} to {cpu[-1]:.2f} seconds of processor "
            "time in each second of its budget (start and packing included); 2 is all of two cores."
        )
    took = sorted((r["score"]["protocol"].get("seconds", 0.0), r["variant"]) for r in results)
    if took[0][0]:
        lines.append(
            f"- A score took {median(s for s, _ in took):.0f} seconds in the median (from {took[0][0]:.0f} to "
            f"{took[-1][0]:,.0f}, {took[-1][1]}): the making of {SAMPLES:,} samples by its generator, all metrics, the real "
            "pictures' features kept from before except for the first."
        )
    both = [
        (r["curve"][-1][2]["value"], r["score"]["metrics"]["frechet"]["value"])
        for r in results
        if r["curve"]
    ]
    if len(both) > 2:
        lines.append(
            f"- Of the {len(both)} trainings that have a quick score, the last one (some time before the end) orders them like the "
            f"whole score by a Spearman correlation of {_rank_correlation(*zip(*both, strict=True)):.2f}."
        )
    dates = sorted({r["when"] for r in results})
    lines.append(f"- Measured {dates[0]}" + (f" to {dates[-1]}." if dates[1:] else "."))
    return lines


def on_the_way(
    found: list[dict[str, Any]], results: list[dict[str, Any]], minutes: float
) -> list[str]:
    """The quick score (KID of 2,000) at quarters of the budget, mean over seeds."""
    from ganforge.judging.charts import short

    at = [60 * minutes * q / 4 for q in range(1, 5)]
    lines = [
        "Quick score on the way (KID of 2,000 held-out pictures by `lite` at 32 px; the last one taken",
        "until then, mean over seeds):", "",
        "| recipe | " + " | ".join(f"{t:g} s" for t in at) + " |", "| --- |" + " ---: |" * len(at),
    ]  # fmt: skip
    for row in found:
        mine = [r["curve"] for r in results if r["variant"] == row["variant"]]
        cells = []
        for t in at:
            last = [[k["value"] for s, _, k in curve if s <= t][-1:] for curve in mine]
            whole = all(last) and mine
            cells.append(short(sum(v[0] for v in last) / len(last)) if whole else "–")
        lines.append(f"| {row['variant']} | " + " | ".join(cells) + " |")
    return lines


def _picture(row: dict[str, Any], results: list[dict[str, Any]]) -> str | None:
    from ganforge import compare as c

    mine = [r for r in results if r["variant"] == row["variant"]]
    best = min(mine, key=lambda r: c._value(r, row["metric"]) or float("inf"))
    path = RESULTS / "results" / f"{c._job(best).name}.png"
    if not path.exists():
        return None
    relative = path.relative_to(RESULTS).as_posix()
    return (
        f'<img src="../benchmarks/results/comparison/{relative}" width="200" '
        f'alt="Samples of {row["variant"]}, seed {best["seed"]}" title="{row["variant"]}">'
    )


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's."""
    import numpy as np
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _seeds(results: list[dict[str, Any]]) -> str:
    """How many each recipe has: "2", or "1 or 2"."""
    names = [r["variant"] for r in results]
    return " or ".join(map(str, sorted({names.count(n) for n in names}))) or str(SEEDS)


def beside(results: list[dict[str, Any]]) -> list[str]:
    """Lucic et al.'s table next to ours: orders, never numbers."""
    from ganforge import compare as c
    from ganforge.judging.charts import short

    means = {r["variant"].split()[0]: r["mean"] for r in c.rows(results)}
    lines = [
        "", "## Beside Lucic et al. 2018", "",
        "*Are GANs Created Equal?* (arXiv 1711.10337) is the comparison that others are measured by. The",
        "columns stand side by side to compare **orders**; the numbers of one cannot be read on the",
        "scale of the other:", "",
        "| | Lucic et al. | this page |", "| --- | --- | --- |",
        "| distance | FID: Frechet by TF-Inception | Frechet by EfficientNet-Lite0 at 112 px |",
        "| samples | 10,000 against 10,000 of test | the same |",
        f"| pictures | 28 px | {SIZE} px, resized |",
        "| networks | InfoGAN's, as published (BEGAN: its own) | each recipe's, mostly at width 16 |",
        "| training | 20 epochs: 1,000,000 pictures of D | 4 minutes of two cores, see above |",
        "| settings | the best of a search of 100, narrowed with 50 more | the recipe's defaults |",
        "| which model counts | the best of its checkpoints | the last |",
        f"| seeds | 50, severe collapses dropped | {_seeds(results)}, none dropped |", "",
        "| recipe | theirs | their FID | Frechet here |", "| --- | --- | ---: | ---: |",
    ]  # fmt: skip
    for name, (row, fid) in LUCIC.items():
        ours = means.get(name)
        lines.append(f"| {name} | {row} | {fid} | {'–' if ours is None else short(ours)} |")
    shared = [n for n in LUCIC if means.get(n) is not None]
    if len(shared) >= 4:
        theirs = [float(LUCIC[n][1].split()[0]) for n in shared]
        rank = _rank_correlation(theirs, [means[n] for n in shared])
        lines += [
            "",
            f"Over the {len(shared)} rows that both have, Spearman's correlation of the two orders is "
            f"{rank:.2f}; with six rows it would take 0.89 to be sure (p < .05) that they agree at all.",
        ]  # fmt: skip
    lines += [
        "",
        "Their first finding is that with enough search no loss beats the others by more than the seeds",
        "vary, and that with the authors' default settings the best gets about 32 on Fashion-MNIST (their",
        "figure 4, as Dai and Wipf 2019 read it). This page asks the other question: what the defaults",
        "give to someone with four minutes. Speed decides here as much as the loss: a recipe with five",
        "moves of D for one of G, or with dear networks, sees a fraction of the pictures, and a place low",
        "in the table says nothing about where it ends after a day.",
    ]  # fmt: skip
    return lines


ADVICE = [
    "",
    "## Again, and more of it",
    "",
    "```sh",
    "python benchmarks/comparison.py                      # what is missing",
    "python benchmarks/comparison.py r3gan --seeds 5      # more seeds of one recipe",
    "python benchmarks/comparison.py auto dcgan --minutes 20",
    "ganforge compare dcgan wgan-gp --data my/pictures --seeds 3 --minutes 10   # your own data",
    "```",
    "",
    "Run nothing else beside it: the budget is wall clock.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(FAMILY))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    unknown = [n for n in args.recipes if n not in FAMILY]
    if unknown:
        sys.exit(f"{unknown[0]} is not one of {', '.join(FAMILY)}")
    if not args.table:
        train(args.recipes or list(FAMILY), args.seeds, args.minutes)
    write()


if __name__ == "__main__":
    main()
