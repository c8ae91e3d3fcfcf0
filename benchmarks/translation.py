"""Translation: what pix2pix, cyclegan and cut reach on data that anyone can make.

    python benchmarks/translation.py --edges edges2garments --emoji emoji     # then the table
    python benchmarks/translation.py --table              # only docs/translation-table.md
    python benchmarks/translation.py ... --keep kept --pictures      # and the pictures of docs/translation.md

`edges2garments` is made by `examples/edges.py fashion-mnist-mini edges2garments`, `emoji/twitter`
and `emoji/google` by `examples/emoji.py ... --size 64 --test 0.4`; sneakers and ankle boots are
Fashion-MNIST's. Each finished job is a small JSON under benchmarks/results/translation with the
hash of the code that made it; what is there by the same code is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "translation"
PAGE = ROOT / "docs" / "translation-table.md"
PICTURES = ROOT / "docs" / "pictures"
CODE = ("objectives/gan.py", "objectives/regression.py", "objectives/cyclegan.py",
        "objectives/cut.py", "objectives/terms.py", "families/unet.py", "families/johnson.py", "families/patch.py",
        "recipes/pix2pix.py", "recipes/cyclegan.py", "recipes/cut.py",
        "judging/fidelity.py")  # fmt: skip
DATA = "fashion-mnist"
L1 = {"objective": "regression", "pairs": False}
JOBS: dict[str, dict[str, Any]] = {
    "edges-l1": {"recipe": "pix2pix", "images": 24_000, "settings": L1 | {"width": 32}},
    "edges-pix2pix": {"recipe": "pix2pix", "images": 24_000, "settings": {"width": 32}},
    "shoes-cyclegan": {"recipe": "cyclegan", "images": 12_000, "settings": {"width": 24, "depth": 3, "identity": 18.0}},
    "shoes-cut": {"recipe": "cut", "images": 12_000, "settings": {"width": 24, "depth": 3, "terms": {"source": 5.0}}},
    "emoji-pix2pix": {"recipe": "pix2pix", "images": 24_000, "settings": {"width": 32, "resize": True}},
    "emoji-cut": {"recipe": "cut", "images": 8_000, "settings": {"width": 24, "depth": 3, "resize": True}},
}  # fmt: skip


def code_hash(job: str) -> str:
    """Of what a result depends on."""
    digest = hashlib.sha256(json.dumps(JOBS[job], sort_keys=True).encode())
    for name in CODE:
        digest.update((ROOT / "src" / "ganforge" / name).read_bytes())
    return digest.hexdigest()[:12]


def run(job: str, data: str, inputs: str, keep: Path | None) -> None:
    import ganforge

    path, mark = RESULTS / f"{job}.json", code_hash(job)
    if path.exists() and json.loads(path.read_text())["code"] == mark:
        return
    what = JOBS[job]
    folder = Path(tempfile.mkdtemp()) / "run" if keep is None else keep / job
    if folder.exists():
        shutil.rmtree(folder)
    made = ganforge.train(data, what["recipe"], folder, settings=what["settings"],
                          images=what["images"], inputs=inputs)  # fmt: skip
    held_out = pairs_of(job, made.config)
    found = MEASURES[job.partition("-")[0]](ganforge.load(folder), held_out)
    seconds = made.records()[-1]["seconds"]
    found |= {"job": job, **what, "seconds": round(seconds), "code": mark}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found), file=sys.stderr, flush=True)


def pairs_of(job: str, plain: Any) -> Any:
    """The held-out samples of a job's run: those that were trained unpaired are judged by pairs
    too, where there are any."""
    from ganforge.api import held_out_of
    from ganforge.config import load

    config = load(plain)
    pairs = config.data_options | {"paired": not job.startswith("shoes")}
    held_out = held_out_of(config.model_copy(update={"data_options": pairs}), None)  # type: ignore[arg-type]
    assert held_out is not None
    return held_out


def draw(keep: Path, columns: int = 10) -> None:
    """Held-out samples, what the jobs that were kept make of them, and the truth."""
    import ganforge
    from ganforge.gallery import Block, sheet
    from ganforge.run import Run
    from ganforge.spec import Ask

    for kind in MEASURES:
        jobs = [j for j in JOBS if j.startswith(kind) and (keep / j).exists()]
        if not jobs:
            continue
        held_out = pairs_of(jobs[0], Run.open(keep / jobs[0]).config)
        b = held_out.batch(np.linspace(0, len(held_out) - 1, columns).round().astype(int))
        made = {j: ganforge.load(keep / j) for j in jobs}
        rows = {"source": b.source}
        rows |= {j.partition("-")[2]: g.make(Ask(source=b.source)) for j, g in made.items()}
        if kind != "shoes":
            rows["true"] = b.real
        blocks = [Block(torch.cat(list(rows.values())), list(rows), [""] * columns)]
        for g in made.values():
            if "F" in g.nets:
                with torch.no_grad():
                    back = g.nets["F"](b.real)
                said = ["source", "back"]
                blocks.append(Block(torch.cat([b.real, back]), said, [""] * columns))
        colours = 128 if b.real.shape[1] == 3 else 32
        sheet(blocks).quantize(colours).save(PICTURES / f"{kind}.png", optimize=True)


# -- what is measured -----------------------------------------------------------------------
def batches(data: Any, n: int = 1000, step: int = 100) -> Any:
    for start in range(0, min(n, len(data)), step):
        yield data.batch(np.arange(start, min(start + step, n, len(data))))


def classes_of(x: Tensor) -> Tensor:
    """By a network trained on Fashion-MNIST's 60,000 labels."""
    from ganforge.data import open_source
    from ganforge.judging.features import features
    from ganforge.judging.samples import Rows

    train, test = open_source(DATA), open_source(f"{DATA}@test")
    f = features("classifier", (1, 28, 28), labelled=Rows(train), held_out=Rows(test))
    return f.probabilities(f(x)).argmax(1)


def paired(generator: Any, data: Any, n: int = 1000) -> dict[str, Any]:
    from ganforge.judging.features import features
    from ganforge.judging.fidelity import judging_distances, measures
    from ganforge.judging.metrics import frechet
    from ganforge.spec import Ask

    distances, _, _ = judging_distances(data.shape)
    parts, made, real, source = [], [], [], []
    for b in batches(data, n):
        x = generator.make(Ask(source=b.source))
        parts.append(measures(x, b.real, distances=distances))
        parts[-1] |= {
            f"untouched {k}": v for k, v in measures(b.source, b.real, distances=distances).items()
        }
        made.append(x), real.append(b.real), source.append(b.source)
    keys = ("l1", "ssim", "psnr", "perceptual")
    keys += tuple(f"untouched {k}" for k in keys)
    found = {k: round(torch.cat([p[k] for p in parts]).mean().item(), 4) for k in keys}
    if data.shape == (1, 28, 28):
        kept = (classes_of(torch.cat(made)) == classes_of(torch.cat(real))).float().mean()
        found["class kept"] = round(kept.item(), 4)
    else:
        f = features("lite2@64", data.shape)
        to = f(torch.cat(real))
        for name, parts in (("frechet", made), ("untouched frechet", source)):
            found[name] = round(frechet(f(torch.cat(parts)), to).value, 1)
    return found


def shoes(generator: Any, data: Any) -> dict[str, Any]:
    from ganforge.judging.fidelity import measures
    from ganforge.spec import Ask

    sources = torch.cat([b.source for b in batches(data)])
    made = torch.cat([generator.make(Ask(source=s)) for s in sources.split(100)])
    boot = classes_of(made) == 9
    found = {
        "target class": round(boot.float().mean().item(), 4),
        "ssim to input": round(measures(made, sources)["ssim"].mean().item(), 4),
    }
    if "F" in generator.nets:
        reals = torch.cat([b.real for b in batches(data)])
        with torch.no_grad():
            back = torch.cat([generator.nets["F"](x) for x in made.split(100)])
            shoes = torch.cat([generator.nets["F"](x) for x in reals.split(100)])
        found["cycle error, levels"] = round(measures(back, sources)["l1"].mean().item(), 2)
        found["back: target class"] = round((classes_of(shoes) == 7).float().mean().item(), 4)
        found["back: ssim to input"] = round(measures(shoes, reals)["ssim"].mean().item(), 4)
    return found


MEASURES: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "edges": paired,
    "shoes": shoes,
    "emoji": partial(paired, n=2000),  # as many as there are: a Frechet distance wants over 1,280
}


MARKS = {"target class": 0.8, "ssim to input": 0.4}


# -- the table ------------------------------------------------------------------------------
def page() -> str:
    """The table, from the results."""
    lines = [
        "# Translation, measured",
        "",
        "Made by `python benchmarks/translation.py --edges edges2garments --emoji emoji`; not edited by",
        "hand. Held-out pictures, up to 1,000, of emoji all; one seed, some minutes of one core each (seconds are of a shared machine",
        "and do not compare). L1 and cycle errors in levels of 255; the perceptual distance by EfficientNet-Lite2's maps; classes by a",
        "network trained on Fashion-MNIST's labels. *Untouched* is the input itself. *Class kept* is the share of garments,",
        "drawn from edges, that it still takes for what they were. The marks: shoes become boots for the classifier at 0.80 or more, their SSIM to",
        "the input staying at 0.40 or more.",
    ]
    hidden = ("job", "recipe", "settings", "code")
    missing = [job for job in JOBS if not (RESULTS / f"{job}.json").exists()]
    if missing:
        lines += ["", f"Still open: {', '.join(missing)}."]
    for path in sorted(RESULTS.glob("*.json")):
        r = json.loads(path.read_text())
        terms = r["settings"].get("terms", {})
        given = [f"--set {k}={v}".lower() for k, v in r["settings"].items() if k != "terms"]
        given = " ".join([*given, *(f"--add {k}={v:g}" for k, v in terms.items())])
        lines += [
            "",
            f"## {r['job']}: `{r['recipe']} {given}`",
            "",
            "| measure | value |",
            "| --- | --- |",
        ]
        marks = {k: mark for k in r for end, mark in MARKS.items() if k.endswith(end)}
        said = {k: f", {'met' if r[k] >= mark else 'missed'}: {mark:.2f} or more" for k, mark in marks.items()}  # fmt: skip
        lines += [f"| {k} | {v:,}{said.get(k, '')} |" for k, v in r.items() if k not in hidden]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="*", default=list(JOBS))
    parser.add_argument("--edges", help="a folder made by examples/edges.py")
    parser.add_argument("--emoji", help="a folder with twitter and google in it")
    parser.add_argument("--keep", type=Path, help="where to keep the runs")
    parser.add_argument("--pictures", action="store_true", help="draw the runs that were kept")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.pictures and args.keep is None:
        parser.error("--pictures draws the runs of --keep FOLDER; say which folder")
    for job in [] if args.table else args.jobs:
        kind = job.partition("-")[0]
        if kind == "shoes":
            run(job, f"{DATA}:ankle-boot", f"{DATA}:sneaker", args.keep)
        elif kind == "edges" and args.edges:
            run(job, f"{args.edges}/pictures", f"{args.edges}/edges", args.keep)
        elif kind == "emoji" and args.emoji:
            run(job, f"{args.emoji}/google", f"{args.emoji}/twitter", args.keep)
    if args.pictures:
        draw(args.keep)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
