"""walk, directions, invert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    own_parts,
)
from ganforge.cli.screen import emit, note

if TYPE_CHECKING:
    from ganforge.generator import Generator


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


@app.command()
def walk(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help=".gif, .webp, .mp4, or .png for a strip.")
    ] = None,
    stops: Annotated[int, typer.Option(min=2, help="Latents to pass.")] = 6,
    frames: Annotated[int, typer.Option(min=1, help="From one to the next.")] = 12,
    seed: Annotated[int, typer.Option()] = 0,
    label: Annotated[str | None, typer.Option(help="A class, or all.")] = None,
    truncation: Annotated[float, typer.Option(help="In (0, 1]; lower is more typical.")] = 1.0,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Walk through the latent space: a loop as a moving picture, or a strip."""
    from ganforge import latents
    from ganforge.errors import UserError
    from ganforge.gallery import picture

    path = out or run / "walk.gif"
    if path.suffix.lower() not in WALKS:
        raise UserError(f"{path} has an unknown ending; use one of {', '.join(WALKS)}")
    made = opened(run, [path], force, checkpoint, no_ema, recipe, "a walk is a moving picture")
    x = latents.walk(made, stops, frames, seed, label, truncation)
    if path.suffix.lower() == ".png":
        picture(x, frames).save(path)
    else:
        latents.film(x, path)
    body = {"out": str(path), "frames": len(x), "stops": stops, "seed": seed, "step": made.step}
    emit(body, json, lambda: f"{len(x)} frames by step {made.step}: {path}")


@app.command()
def directions(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="A picture, a row each.")] = None,
    method: Annotated[str, typer.Option(help="sefa, pca or pictures.")] = "sefa",
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
    from ganforge.gallery import picture

    path = out or run / f"directions-{method}.png"
    kept = path.with_suffix(".safetensors")
    made = opened(run, [path, kept], force, checkpoint, no_ema, recipe, "directions are looked at")
    found = latents.directions(made, count, method, label)
    picture(latents.along(made, found, reach=reach, seed=seed, label=label), 7).save(path)
    found.save(kept)
    body = {"out": str(path), "directions": str(kept), "method": method, "step": made.step,
            "strengths": [round(float(s), 5) for s in found.strengths]}  # fmt: skip
    emit(body, json, lambda: f"{count} directions by {method}: {path}, {kept}")


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
    from ganforge.gallery import beside, picture

    path = out or run / "inverted.png"
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
    picture(beside(x, found.made, None), min(8, len(x))).save(path)
    found.save(kept)
    body = {"out": str(path), "latents": str(kept), "step": made.step,
            "psnr": [round(float(p), 3) for p in found.psnr]}  # fmt: skip
    emit(body, json, lambda: f"PSNR {', '.join(f'{p:.1f}' for p in found.psnr)} dB: {path}, {kept}")
