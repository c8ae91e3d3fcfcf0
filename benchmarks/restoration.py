"""Restoration: L1 alone, the GAN, and what simple means reach, on held-out pictures.

    python benchmarks/restoration.py --emoji emoji32/google    # what is missing, then the table
    python benchmarks/restoration.py --table                   # only docs/restoration-table.md
    python benchmarks/restoration.py --emoji emoji32/google --keep kept --pictures   # and the pictures

`emoji32/google` is made by `examples/emoji.py ... --size 32 --test 0.4`. All networks of a row
see as many pictures; the GANs' first half has no D. Each finished (task, data, seed) is a
small JSON under benchmarks/results/restoration with the hash of the code that made it; what
is there by the same code is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "restoration"
PAGE = ROOT / "docs" / "restoration-table.md"
PICTURES = ROOT / "docs" / "pictures"
CODE = ("data/degrade.py", "objectives/{objective}.py", "objectives/regression.py", "objectives/terms.py",
        "families/{family}.py", "families/patch.py", "judging/fidelity.py",
        "recipes/_restoring.py", "recipes/{recipe}.py")  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "denoise": {},
    "upscale": {},
    "upscale-4": {"degrade": "down:4"},
    "inpaint": {},
    "demosaic": {},
    "colorize": {},
}
"""By name the settings of the recipe that its name begins with."""
L1 = {"objective": "regression", "terms": {"l1": 50.0}, "warmup": 0}
LABELS = {"l1": "L1", "gan": "GAN"}
DATA = ("fashion-mnist-mini", "emoji")
GAN: dict[str, dict[str, Any]] = {DATA[0]: {}, DATA[1]: {"terms": {"l1": 50.0, "perceptual": 4.0}}}
"""What each data set's GAN adds to the recipe: EfficientNet-Lite0 knows colour, and judges nothing here."""
SHOWN = ("psnr", "ssim", "perceptual", "frechet")


def images(task: str, name: str) -> int:
    """How many pictures each network of a row sees: enlarging computes on small ones."""
    if name == DATA[0]:
        return 10_000
    return 30_000 if task.startswith("upscale") else 12_000


def recipe_of(task: str) -> str:
    return task.partition("-")[0]


def code_hash(task: str, name: str) -> str:
    """Of what a result depends on."""
    from ganforge import recipes

    made = recipes.recipe(recipe_of(task))
    about = {"recipe": made.name, "objective": made.objective, "family": made.family}
    digest = hashlib.sha256(json.dumps([TASKS[task], GAN[name], images(task, name)]).encode())
    for name in CODE:
        digest.update((ROOT / "src" / "ganforge" / name.format(**about)).read_bytes())
    return digest.hexdigest()[:12]


def run(task: str, data: str, name: str, seed: int, keep: Path | None) -> None:
    import ganforge
    from ganforge.judging.protocol import Reference, score

    path, mark, count = (
        RESULTS / f"{task}-{name}-{seed}.json",
        code_hash(task, name),
        images(task, name),
    )
    found: dict = {"task": task, "data": name, "seed": seed, "images": count, "code": mark}
    if path.exists():
        kept = json.loads(path.read_text())
        found = kept if kept["code"] == mark else found
    features = "classifier" if "fashion" in data else "lite2@64"
    for kind, settings in (("l1", L1), ("gan", GAN[name] | {"warmup": count // 2})):
        if kind in found:
            continue
        place = Path(tempfile.mkdtemp()) if keep is None else keep
        folder = place / f"{task}-{name}-{kind}"
        if folder.exists():
            shutil.rmtree(folder)
        chosen = TASKS[task] | settings
        made = ganforge.train(
            data, recipe_of(task), folder, settings=chosen, images=count, seed=seed
        )
        held_out, dataset = splits(made.config)
        scored = score(
            ganforge.load(folder), Reference(held_out, dataset), features=features, n=1300
        )
        found[kind] = {k: v["value"] for k, v in scored["metrics"].items()}
        found["baselines"] = scored["baselines"]
        found["protocol"] = {k: scored["protocol"][k] for k in ("fidelity", "n_real", "n_fake")}
        found["protocol"]["features"] = features
        if kind == "gan":
            found["terms"] = made.config["terms"]
        found["degrade"] = made.config["data_options"]["degrade"]
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(task, name, kind, found[kind]["psnr"], file=sys.stderr, flush=True)


def splits(plain: Any) -> tuple[Any, Any]:
    """A run's held-out and training pictures, each with its damage."""
    from ganforge.api import held_out_of
    from ganforge.config import load
    from ganforge.data import open_source

    config = load(plain)
    dataset = open_source(config.data, **config.data_options)
    held_out = held_out_of(config, dataset)
    assert held_out is not None
    return held_out, dataset


def draw(keep: Path, columns: int = 8) -> None:
    """Held-out pictures damaged, restored by both and true, of the runs that were kept."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    import ganforge
    from ganforge.gallery import Block, sheet
    from ganforge.run import Run
    from ganforge.spec import Ask

    for name, file in zip(DATA, ("restoration.png", "restoration-emoji.png"), strict=True):
        blocks = []
        for task in TASKS:
            places = {kind: keep / f"{task}-{name}-{kind}" for kind in LABELS}
            folders = {kind: f for kind, f in places.items() if f.exists()}
            if "gan" not in folders:
                continue
            held_out, _ = splits(Run.open(folders["gan"]).config)
            rows = np.linspace(0, len(held_out) - 1, columns).round().astype(int)
            b = held_out.batch(rows)
            damaged = b.source[:, : b.real.shape[1]]
            if b.source.shape[1] == b.real.shape[1] + 1:  # the last channel says where holes are
                damaged = torch.where(b.source[:, -1:] > 0, torch.zeros(()), damaged)
            damaged = F.interpolate(damaged, b.real.shape[2:]).expand_as(b.real)
            made = [ganforge.load(f).make(Ask(source=b.source)) for f in folders.values()]
            said = ["damaged", *(LABELS[kind] for kind in folders), "true"]
            x = torch.cat([damaged, *made, b.real])
            blocks.append(Block(x, said, [""] * columns, title=task))
        if blocks:
            sheet(blocks).quantize(128 if name == "emoji" else 32).save(
                PICTURES / file, optimize=True
            )


def page() -> str:
    """The table, from the results."""
    head = ["", "PSNR dB", "SSIM", "perceptual", "Frechet"]
    lines = [
        "# Restoration, measured",
        "",
        "Made by `python benchmarks/restoration.py --emoji emoji32/google` (the folder as [restoration.md](restoration.md)",
        "makes it); not edited by hand. Held-out",
        "pictures; networks of width 32, some minutes of one core each. PSNR and SSIM",
        "of all channels; less is better of the perceptual distance (EfficientNet-Lite2's maps) and of the",
        "Frechet distance (Fashion-MNIST: a classifier's features; emoji: EfficientNet-Lite2's at 64 pixels). The marks:",
        "L1 beats the best simple means by 1 dB; the GAN, whose first half is by L1 alone, beats L1 on both distances.",
    ]
    there = {p.stem for p in RESULTS.glob("*.json")}
    missing = [f"{t} of {d}" for t in TASKS for d in DATA
               if not any(s.startswith(f"{t}-{d}-") for s in there) and (t, d) != ("colorize", DATA[0])]  # fmt: skip
    for path in sorted(RESULTS.glob("*.json")):
        r = json.loads(path.read_text())
        missing += [
            f"{LABELS[k]} for {r['task']} of {r['data']}" for k in ("l1", "gan") if k not in r
        ]
    if missing:
        lines += ["", f"Still open: {', '.join(missing)}."]
    for path in sorted(RESULTS.glob("*.json")):
        r = json.loads(path.read_text())
        best = max(b["psnr"] for b in r["baselines"].values())
        gain = r["l1"]["psnr"] - best
        lines += [
            "", f"## {r['task']} of {r['data']}, `degrade={r['degrade']}`, {r['images']:,} pictures, seed {r['seed']}", "",
            f"L1 is {gain:+.1f} dB from the best simple means ({'met' if gain >= 1 else 'missed'})"
            + "".join(f"; {LABELS[k]} {_nearer(r[k], r['l1'])}" for k in ("gan",) if k in r) + ".",
            "", "| " + " | ".join(head) + " |", "| --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        added = "".join(f", `--add {k}={v:g}`" for k, v in r.get("terms", {}).items() if k != "l1")
        rows = {**r["baselines"], **{f"**{LABELS[k]}**": r[k] for k in LABELS if k in r}}
        rows = {k + added * (k == "**GAN**"): v for k, v in rows.items()}
        for label, values in rows.items():
            cells = [_short(values.get(k)) for k in SHOWN]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _nearer(gan: dict, l1: dict) -> str:
    """By which distances a GAN is nearer to the truth than L1."""
    near = [k for k in ("perceptual", "frechet") if gan.get(k, 9e9) < l1.get(k, 0)]
    said = (
        f"nearer than L1 by {' and '.join(near)}" if near else "nearer than L1 by neither distance"
    )
    return f"is {said} ({'met' if len(near) == 2 else 'missed'})"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--emoji", help="a folder made by examples/emoji.py")
    parser.add_argument("--emoji-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where to keep the runs")
    parser.add_argument("--pictures", action="store_true", help="draw the runs that were kept")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.pictures and args.keep is None:
        parser.error("--pictures draws the runs of --keep FOLDER; say which folder")
    for task in [] if args.table else args.tasks:
        if task != "colorize" and not args.emoji_only:
            run(task, DATA[0], DATA[0], args.seed, args.keep)
        if args.emoji:
            run(task, args.emoji, DATA[1], args.seed, args.keep)
    if args.pictures:
        draw(args.keep)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
