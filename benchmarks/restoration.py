"""Restoration: L1 alone, the GAN, the GAN with a perceptual term, and what simple means reach, on held-out pictures.

    python benchmarks/restoration.py --emoji emoji32/google    # what is missing, then the table
    python benchmarks/restoration.py --table                   # only docs/restoration-table.md

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

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "restoration"
PAGE = ROOT / "docs" / "restoration-table.md"
CODE = ("data/degrade.py", "objectives/gan.py", "objectives/regression.py", "objectives/terms.py",
        "families/unet.py", "families/srresnet.py", "families/patch.py", "judging/fidelity.py",
        "recipes/_restoring.py", "recipes/{task}.py")  # fmt: skip
TASKS = ("denoise", "upscale", "inpaint", "demosaic", "colorize")
IMAGES = 10_000
L1 = {"objective": "regression", "terms": {"l1": 50.0}, "warmup": 0}
GAN = {"warmup": IMAGES // 2}
KINDS = {
    "l1": L1,
    "gan": GAN,
    "gan+perceptual": GAN | {"terms": {"l1": 50.0, "perceptual": 5.0}},
}
"""The perceptual term looks through EfficientNet-Lite0; distances are judged by another network."""
LABELS = {"l1": "L1", "gan": "GAN", "gan+perceptual": "GAN with a perceptual term"}
DATA = ("fashion-mnist-mini", "emoji")
SHOWN = ("psnr", "ssim", "perceptual", "frechet")


def code_hash(task: str) -> str:
    """Of what a result depends on."""
    digest = hashlib.sha256(str(IMAGES).encode())
    for name in CODE:
        digest.update((ROOT / "src" / "ganforge" / name.format(task=task)).read_bytes())
    return digest.hexdigest()[:12]


def run(task: str, data: str, name: str, seed: int, keep: Path | None, kinds: list[str]) -> None:
    import ganforge
    from ganforge.api import held_out_of
    from ganforge.config import load
    from ganforge.data import open_source
    from ganforge.judging.protocol import Reference, score

    path, mark = RESULTS / f"{task}-{name}-{seed}.json", code_hash(task)
    found: dict = {"task": task, "data": name, "seed": seed, "images": IMAGES, "code": mark}
    if path.exists():
        kept = json.loads(path.read_text())
        found = kept if kept["code"] == mark else found
    features = "classifier" if "fashion" in data else "lite2@64"
    for kind in kinds:
        if kind in found:
            continue
        settings = KINDS[kind]
        folder = (
            Path(tempfile.mkdtemp()) / "run" if keep is None else keep / f"{task}-{name}-{kind}"
        )
        if folder.exists():
            shutil.rmtree(folder)
        made = ganforge.train(data, task, folder, settings=settings, images=IMAGES, seed=seed)
        config = load(made.config)
        dataset = open_source(config.data, **config.data_options)
        held_out = held_out_of(config, dataset)
        assert held_out is not None
        scored = score(
            ganforge.load(folder), Reference(held_out, dataset), features=features, n=1300
        )
        found[kind] = {k: v["value"] for k, v in scored["metrics"].items()}
        found["baselines"] = scored["baselines"]
        found["protocol"] = {k: scored["protocol"][k] for k in ("fidelity", "n_real", "n_fake")}
        found["protocol"]["features"] = features
        found["degrade"] = config.data_options["degrade"]
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(task, name, kind, found[kind]["psnr"], file=sys.stderr, flush=True)


def page() -> str:
    """The table, from the results."""
    head = ["", "PSNR dB", "SSIM", "perceptual", "Frechet"]
    lines = [
        "# Restoration, measured",
        "",
        "Made by `python benchmarks/restoration.py --emoji emoji32/google` (the folder as [restoration.md](restoration.md)",
        "makes it); not edited by hand. Held-out",
        f"pictures; networks of width 32 after {IMAGES:,} pictures, a few minutes of one core. PSNR and SSIM",
        "of all channels; less is better of the perceptual distance (EfficientNet-Lite2's maps) and of the",
        "Frechet distance (Fashion-MNIST: a classifier's features; emoji: EfficientNet-Lite2's at 64 pixels). The marks:",
        "L1 beats the best simple means by 1 dB; the GAN beats L1 on both distances. *Perceptual*: with",
        "`--add perceptual=5`, a term that looks through EfficientNet-Lite0, so the distance's own network",
        "was never trained on, but is of its kin.",
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
            "", f"## {r['task']} of {r['data']}, `degrade={r['degrade']}`, seed {r['seed']}", "",
            f"L1 is {gain:+.1f} dB from the best simple means ({'met' if gain >= 1 else 'missed'})"
            + "".join(f"; {LABELS[k]} {_nearer(r[k], r['l1'])}" for k in KINDS if k in r and k != "l1") + ".",
            "", "| " + " | ".join(head) + " |", "| --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        rows = {**r["baselines"], **{f"**{LABELS[k]}**": r[k] for k in KINDS if k in r}}
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
    parser.add_argument("tasks", nargs="*", default=TASKS)
    parser.add_argument("--emoji", help="a folder made by examples/emoji.py")
    parser.add_argument("--emoji-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--keep", type=Path, help="where to keep the runs")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if not args.table:
        for task in args.tasks:
            if task != "colorize" and not args.emoji_only:
                run(task, DATA[0], DATA[0], args.seed, args.keep, args.kinds)
            if args.emoji:
                run(task, args.emoji, DATA[1], args.seed, args.keep, args.kinds)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
