"""docs/family.md: its facts from the registry of recipes and from the results, its words by hand.

    python benchmarks/family.py              # write the facts into the page anew
    python benchmarks/family.py --pictures   # train and draw what has no picture yet

The page holds `<!-- facts: NAME -->` ... `<!-- end -->` blocks; only what lies between is made.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, PICTURES = ROOT / "docs" / "family.md", ROOT / "docs" / "pictures" / "family"
BLOCK = re.compile(r"(<!-- facts: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)

FAST = "--batch-size 32 --lr 1e-3"  # where the paper's rate would take an hour
STEADY = f"--width 24 {FAST} --set lr.G=2e-3 --set d_norm=none"
SHORT: dict[str, str] = {
    "gan": "--images 480000",
    "dcgan": f"--width 24 {FAST} --images 120000",
    "lsgan": f"--width 24 {FAST} --images 120000",
    "wgan": "--width 16 --batch-size 32 --lr 2e-4 --images 320000",
    "wgan-gp": "--width 16 --batch-size 32 --lr 5e-4 --images 240000",
    "dragan": f"--width 16 {FAST} --images 100000",
    "cgan": f"{STEADY} --images 120000",
    "infogan": "--width 24 --set hidden=256 --lr 5e-4 --set lr.G=1e-3 --set latent.kind=uniform --images 240000",
    "acgan": f"{STEADY} --images 120000",
    "ebgan": "--width 16 --batch-size 32 --images 80000",
    "began": "--width 16 --batch-size 32 --lr 5e-4 --images 100000",
    "sngan": f"--width 8 {FAST} --images 160000",
    "biggan": "--width 8 --batch-size 32 --lr 1e-3 --set lr.G=5e-4 --images 60000 --size 32",
    "r3gan": f"--width 8 {FAST} --images 40000",
    "frogs": "--width 24 --images 40000 --size 32",
    "auto": "--width 24 --images 120000",
    "ae": f"--width 16 {FAST} --images 60000",
    "vae": f"--width 16 {FAST} --images 60000",
}
"""The short run of each picture on Fashion-MNIST: from half a minute to a few of one core."""


NO_HEADLINE = {"auto": "[time to quality](time-to-quality.md)"}
OWN_PAGE = {
    **dict.fromkeys(("denoise", "inpaint", "demosaic", "colorize", "upscale"), "restoration"),
    **dict.fromkeys(("pix2pix", "cyclegan", "cut"), "translation"),
    **dict.fromkeys(("wavegan", "specgan"), "sound"),
}
"""Recipes that start from a source or make sounds stand on these pages."""


def bench(name: str) -> Any:
    """benchmarks/NAME.py, for what it measured."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def measured() -> dict[str, str]:
    """Recipe to the measurements and verdicts of its headline, of those it shares, and its modes."""
    heads, out = bench("headlines"), {}
    for (name, data), rs in heads.results().items():
        head = heads.HEADLINES[name]
        if not rs:
            continue
        text, said = heads.verdict(head, data, rs)
        for recipe in [name] if name in head.recipes else head.recipes:
            what = data if recipe == name else f"{name} ({data})"
            out[recipe] = "; ".join(filter(None, (out.get(recipe), f"{what}: {text}, {said}")))
    modes = bench("modes")
    for (label, toy), rs in sorted(modes.groups().items()):
        recipe, _, settings = label.partition(" ")
        found = sum(r["modes"] for r in rs) / len(rs)
        text = f"[toy {toy}](modes.md): {found:.1f} of {rs[0]['total']} modes"
        if toy in modes.MARKED:
            near = statistics.median(r["high_quality"] for r in rs)
            text += f", {near:.0%} of samples near one, the mark in {sum(map(modes.passes, rs))} of {len(rs)} seeds"
        text += f" (`{settings}`)" if settings else ""
        out[recipe] = "; ".join(filter(None, (out.get(recipe), text)))
    return out


def command(name: str) -> str:
    from ganforge import recipes

    run, settings = f"runs/{name}", recipes.recipe(name).settings
    asked = "--label all" if settings.get("conditioning") else "--count 40"
    return (f"ganforge train fashion-mnist-mini --recipe {name} {SHORT[name]} --run {run}\n"
            f"ganforge sample {run} {asked} --out {name}.png")  # fmt: skip


def table() -> str:
    from ganforge import recipes
    from ganforge.objectives import objective_class
    from ganforge.recipes import auto

    found, sections = measured(), set(SHORT)
    lines = ["| recipe | losses | penalties and extra terms | networks | headline | measured |", "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in recipes.names():
        r = recipes.recipe(name)
        game = objective_class(r.objective) if isinstance(r.objective, str) else r.objective
        own = [f"{k} {v:g}" for k, v in r.settings.get("terms", {}).items()]
        if name == "auto":
            own += [f"r1 {auto.PENALTY:g} below {auto.SMALL_SET:,} pictures"]
        if r.settings.get("conditioning") == "auxiliary":
            own += ["auxiliary classifier"]
        terms = ", ".join([*([game.holds] if game.holds else []), *own]) or "-"
        title = f"[{name}](#{name})" if name in sections else f"[{name}]({OWN_PAGE[name]}.md)"
        lines.append(
            f"| {title} | {recipes.named(r.objective)} | {terms} | {recipes.named(r.family)} "
            f"| {r.headline} | {found.get(name, '-')} |"
        )
    return "\n".join(lines) + "\n"


def facts(name: str) -> str:
    """What the registry and the results say of one recipe."""
    from ganforge import recipes

    r = recipes.recipe(name)
    settings = ", ".join(f"{k}={v}" for k, v in r.settings.items() if k != "terms") or "none"
    lines = [
        f"- Paper: {r.citation}.",
        f"- Headline: {r.headline}",
        f"- Measured: {measured().get(name, NO_HEADLINE.get(name, 'no headline of its own'))}.",
        f"- Losses `{recipes.named(r.objective)}`, networks `{recipes.named(r.family)}`; settings: {settings}.",
    ]
    if (PICTURES / f"{name}.png").exists():
        lines += ["", f"![Samples of {name}](pictures/family/{name}.png)", "", "```sh", command(name), "```"]  # fmt: skip
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its blocks made anew."""
    return BLOCK.sub(lambda m: m[1] + (table() if m[2] == "all" else facts(m[2])) + m[3], text)


def sections(text: str) -> list[str]:
    """The recipes that the page has a section and a block of facts for."""
    return [m[2] for m in BLOCK.finditer(text) if m[2] != "all" and f"\n## {m[2]}\n" in text]


def draw(name: str) -> None:
    for line in command(name).splitlines():
        words = line.replace(f"{name}.png", str(PICTURES / f"{name}.png")).split()
        subprocess.run([sys.executable, "-m", *words], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("recipes", nargs="*", help="whose pictures; all, where none is named")
    args = parser.parse_args()
    if args.pictures:
        PICTURES.mkdir(parents=True, exist_ok=True)
        for name in args.recipes or SHORT:
            if not (PICTURES / f"{name}.png").exists():
                draw(name)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
