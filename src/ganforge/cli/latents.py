"""walk, directions, sheet, neighbours, invert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganforge.cli.common import (
    Checkpoint,
    Force,
    Json,
    NoEma,
    Recipe,
    RunFolder,
    app,
    need_free,
    need_picture,
    own_parts,
)
from ganforge.cli.screen import emit, note

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.generator import Generator
    from ganforge.judging.neighbours import Neighbours


COMPARED = 200
"""Samples, and held-out ones, whose distance to the training data is compared."""
WALKS = (".gif", ".webp", ".mp4", ".png")


def opened(
    run: Path,
    files: Sequence[Path],
    force: bool,
    checkpoint: str,
    no_ema: bool,
    recipe: str | None,
    seen: str,
) -> Generator:
    """The generator, where the files are free, it has a latent, and its samples can be looked
    at; otherwise `seen` says why that is needed."""
    from ganforge import api, latents
    from ganforge.errors import UserError

    for file in files:
        need_free(file, force)
    made = api.load(run, checkpoint, not no_ema, **own_parts(recipe))
    latents.need_latent(made)
    if len(made.spec.shape) == 1:
        raise UserError(
            f"{seen}, and {run} makes vectors; 'ganforge sample {run} --out FILE.npy' keeps numbers"
        )
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    return made


def usual_distance(known: Neighbours, x: Tensor) -> float:
    """The median distance of samples (N, *shape) to their nearest."""
    return round(float(known.nearest(x, 1)[0].median()), 5)


@app.command()
def walk(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help=".gif, .webp, .mp4, or .png for a strip.")
    ] = None,
    stops: Annotated[int, typer.Option(min=2, help="Latents to pass.")] = 6,
    frames: Annotated[int, typer.Option(min=1, help="From one to the next.")] = 12,
    seed: Annotated[int, typer.Option()] = 0,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A class; all for one after the other; several go side by side."),
    ] = None,
    truncation: Annotated[float, typer.Option(help="In (0, 1]; lower is more typical.")] = 1.0,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Walk through the latent space: a loop as a moving picture, or a strip."""
    import torch

    from ganforge import latents
    from ganforge.errors import UserError
    from ganforge.gallery import picture

    path = out or run / "walk.gif"
    if path.suffix.lower() not in WALKS:
        raise UserError(f"{path} has an unknown ending; use one of {', '.join(WALKS)}")
    made = opened(run, [path], force, checkpoint, no_ema, recipe, "a walk is a moving picture")
    labels = label or []
    if len(labels) > 1 and len(made.spec.shape) != 3:
        raise UserError(f"pictures go side by side, and {run} makes sounds; give one --label")
    ways = [latents.walk(made, stops, frames, seed, v, truncation) for v in labels or [None]]
    x = ways[0] if len(ways) == 1 else torch.stack(ways, 1)
    if path.suffix.lower() == ".png":
        picture(torch.cat(ways), frames).save(path)
    else:
        latents.film(x, path)
    body = {"out": str(path), "frames": len(x), "stops": stops, "seed": seed, "step": made.step}
    emit(body, json, lambda: f"{len(x)} frames by step {made.step}: {path}")


@app.command()
def directions(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="A picture, a row each.")] = None,
    method: Annotated[
        str, typer.Option(help="auto, sefa, pca or pictures: what fits first.")
    ] = "auto",
    count: Annotated[int, typer.Option(min=1)] = 5,
    reach: Annotated[float, typer.Option(help="How far, in deviations of the noise.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the sample that is moved.")] = 0,
    label: Annotated[str | None, typer.Option()] = None,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Find what moves a generator most; a picture, and the directions as safetensors."""
    from ganforge import latents
    from ganforge.gallery import Block, sheet

    path = out or run / ("directions.png" if method == "auto" else f"directions-{method}.png")
    need_picture(path)
    kept = path.with_suffix(".safetensors")
    made = opened(run, [path, kept], force, checkpoint, no_ema, recipe, "directions are looked at")
    found = latents.directions(made, count, method, label)
    steps = 7
    x = latents.along(made, found, steps=steps, reach=reach, seed=seed, label=label)
    rows = [f"{i}   {share:.0%}" for i, share in enumerate(found.shares)]
    columns = [f"{reach * (2 * i / (steps - 1) - 1):.2g}" for i in range(steps)]
    title = f"directions by {found.method}: number, share of the change"
    sheet([Block(x, rows, columns, title)]).save(path)
    found.save(kept)
    body = {"out": str(path), "directions": str(kept), "method": found.method, "step": made.step,
            "strengths": [round(float(s), 5) for s in found.strengths]}  # fmt: skip
    emit(body, json, lambda: f"{count} directions by {found.method}: {path}, {kept}")


@app.command(name="sheet")
def sheet_(
    run: RunFolder,
    kind: Annotated[
        Literal["traversal", "classes", "truncation"] | None,
        typer.Option(help="By default the first that this generator has."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A picture.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Latents to show.")] = 8,
    seed: Annotated[int, typer.Option()] = 0,
    label: Annotated[
        list[str] | None, typer.Option(help="A class; for classes, these alone.")
    ] = None,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """A labelled sheet, as in the papers: codes and their values, classes, or truncations."""
    from ganforge import latents
    from ganforge.errors import UserError
    from ganforge.gallery import sheet

    path = out or run / f"sheet{f'-{kind}' if kind else ''}.png"
    need_picture(path)
    made = opened(run, [path], force, checkpoint, no_ema, recipe, "a sheet is looked at")
    assert made.latent is not None
    if kind is None:
        codes = made.latent.categorical or made.latent.continuous
        kind = "traversal" if codes else "classes" if made.spec.classes else "truncation"
    labels = label or []
    if kind == "classes":
        blocks = latents.classes(made, count, seed, labels)
    elif len(labels) > 1:
        raise UserError(f"a sheet of kind {kind} is of one class; {len(labels)} were given")
    else:
        draw = latents.traversal if kind == "traversal" else latents.truncations
        blocks = draw(made, count, seed, labels[0] if labels else None)
    sheet(blocks).save(path)
    shown = [{"title": b.title, "rows": list(b.rows), "columns": list(b.columns)} for b in blocks]
    body = {"out": str(path), "kind": kind, "seed": seed, "step": made.step, "blocks": shown}
    emit(body, json, lambda: f"{kind} by step {made.step}: {path}")


@app.command()
def neighbours(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="A picture, a sample a row.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples.")] = 8,
    nearest: Annotated[int, typer.Option(min=1, help="Training pictures beside each.")] = 7,
    features: Annotated[
        str | None, typer.Option(help="As for score; raw compares the values themselves.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The feature network's weights.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Training samples to search.")] = 10_000,
    seed: Annotated[int, typer.Option()] = 0,
    label: Annotated[str | None, typer.Option()] = None,
    truncation: Annotated[float, typer.Option()] = 1.0,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Samples beside the training pictures most like them: are they copies?"""
    from ganforge import config as configuration
    from ganforge.api import held_out_of
    from ganforge.cli.judging import saying
    from ganforge.gallery import Block, sheet
    from ganforge.judging.neighbours import Neighbours, training_data
    from ganforge.judging.protocol import Reference, make_features
    from ganforge.judging.samples import Rows

    path = out or run / "neighbours-of-samples.png"
    need_picture(path)
    made = opened(run, [path], force, checkpoint, no_ema, recipe, "neighbours are looked at")
    data = training_data(made.config)
    held_out = held_out_of(configuration.load(made.config), data)
    say = saying()
    judge = make_features(features, Reference(held_out or data, data), weights=weights, say=say)
    known = Neighbours(data, judge, most, say=say)
    x = made.make(made.ask(max(count, COMPARED), seed, label, None, truncation))
    middle = usual_distance(known, x[:COMPARED])
    usual = None
    if held_out is not None:
        others = Rows(held_out, 20 * COMPARED)
        those = others.indices(0, len(others))
        classes = held_out.label(those)
        if classes is not None and label not in (None, "all"):
            those = those[classes.numpy() == made.label(label)]
        if len(those):
            usual = usual_distance(known, held_out.real(those[:COMPARED]))
    x = x[:count]
    distance, numbers = known.nearest(x, nearest)
    k = distance.shape[1]
    captions = [c for row in distance.tolist() for c in ("", *(f"{d:.3g}" for d in row))]
    rows = [f"sample {i}" for i in range(count)]
    columns = ["made", "nearest", *(str(i) for i in range(2, k + 1))]
    title = f"by {judge.name} features, {known.searched} of {len(data)} training samples"
    block = Block(known.beside(x, numbers), rows, columns, title, captions)
    sheet([block]).save(path)
    found = [known.table(d, n) for d, n in zip(distance, numbers, strict=True)]
    body = {"out": str(path), "features": judge.name, "searched": known.searched, "of": len(data),
            "seed": seed, "step": made.step, "median": middle, "held_out": usual,
            "samples": found}  # fmt: skip

    def text() -> str:
        said = f"{COMPARED} samples' nearest training pictures are {middle:.4g} away (median)"
        real = "" if usual is None else f", those of real held-out ones {usual:.4g}"
        return f"{said}{real}, by {judge.name} features: {path}"

    emit(body, json, text)


@app.command()
def invert(
    run: RunFolder,
    source: Annotated[str, typer.Argument(metavar="PICTURES", help="A picture or a source.")],
    out: Annotated[Path | None, typer.Option(help="A picture: given above, found below.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Of a source, the first ones.")] = 8,
    steps: Annotated[int, typer.Option(min=1)] = 300,
    starts: Annotated[int, typer.Option(min=1)] = 8,
    label: Annotated[str | None, typer.Option()] = None,
    seed: Annotated[int, typer.Option()] = 0,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Find latents whose samples are like given pictures; 'sample --latent' takes them."""
    import numpy as np
    import torch

    from ganforge import latents
    from ganforge.data import open_source
    from ganforge.data.decode import EXTENSIONS, decode
    from ganforge.data.files import Broken
    from ganforge.errors import UserError
    from ganforge.gallery import Block, sheet

    path = out or run / "inverted.png"
    need_picture(path)
    kept = path.with_suffix(".safetensors")
    files = [path, kept]
    made = opened(run, files, force, checkpoint, no_ema, recipe, "invert takes pictures")
    shape = made.spec.shape
    if len(shape) != 3:
        raise UserError(f"invert takes pictures, and {run} makes samples of {shape}")
    if Path(source).suffix.lower() in EXTENSIONS:
        try:
            data = Path(source).read_bytes()
            levels = decode(data, source, tuple(shape[1:]), shape[0], np.dtype(np.uint8)).pixels
        except (OSError, Broken) as e:
            raise UserError(f"{source} cannot be read: {e}") from None
        x = torch.tensor(levels).movedim(-1, 0)[None].float() / 127.5 - 1
    else:
        real = open_source(source, size=list(shape[1:]), channels=shape[0])
        x = real.real(np.arange(min(count, len(real))))
    found = latents.invert(
        made, x, label=label, steps=steps, starts=starts, seed=seed,
        say=lambda done, total: note(f"{done} of {total}"),
    )  # fmt: skip
    blocks = []
    for i in range(0, len(x), 8):
        given, psnr = x[i : i + 8], found.psnr[i : i + 8]
        captions = ["" for _ in given] + [f"{p:.1f} dB" for p in psnr]
        columns = [str(i + j) for j in range(len(given))]
        both = torch.cat([given, found.made[i : i + 8]])
        blocks.append(Block(both, ["given", "found"], columns, captions=captions))
    sheet(blocks).save(path)
    found.save(kept)
    body = {"out": str(path), "latents": str(kept), "step": made.step,
            "psnr": [round(float(p), 3) for p in found.psnr]}  # fmt: skip
    emit(body, json, lambda: f"PSNR {', '.join(f'{p:.1f}' for p in found.psnr)} dB: {path}, {kept}")
