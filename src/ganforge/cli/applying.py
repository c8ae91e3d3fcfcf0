"""apply."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import Checkpoint, Force, Json, NoEma, Recipe, RunFolder, app, own_parts
from ganforge.cli.screen import Progress, emit, note


@app.command()
def apply(
    run: RunFolder,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A picture, a folder, a .npy.")],
    out: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Likewise; names are kept.")],
    mask: Annotated[Path | None, typer.Option(help="A picture, bright where holes are.")] = None,
    damage: Annotated[
        bool, typer.Option("--damage", help="First do to each picture what training did.")
    ] = False,
    back: Annotated[bool, typer.Option("--back", help="The other way (cyclegan).")] = False,
    beside: Annotated[
        bool, typer.Option("--beside", help="What the network saw, and what it made.")
    ] = False,
    tile: Annotated[int, typer.Option(min=64, help="Larger pictures are done in tiles.")] = 512,
    overlap: Annotated[int, typer.Option(min=0, help="Of tiles, in pixels.")] = 64,
    uint8: Annotated[bool, typer.Option("--uint8", help="Arrays as (N, H, W, C) bytes.")] = False,
    layout: Annotated[str | None, typer.Option(help="Of an array: NHW, NHWC or NCHW.")] = None,
    range_: Annotated[
        str | None, typer.Option("--range", help="Of an array: what is black and white, 0,255.")
    ] = None,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Repair, translate or enlarge pictures of any size with a trained generator."""
    from ganforge import api
    from ganforge.data.files import Broken
    from ganforge.errors import UserError
    from ganforge.export.applying import Applier
    from ganforge.export.applying import apply as work

    made = api.load(run, checkpoint, not no_ema, **own_parts(recipe))
    applier = Applier(made, back, tile, overlap, damage)
    total, names = work(
        applier, source, out, mask=mask, beside=beside, uint8=uint8, layout=layout, range=range_,
        force=force,
    )  # fmt: skip
    done, skipped = 0, []
    try:
        with Progress.counting(total, "pictures") as progress:
            for name in progress.counted(names):
                if name.startswith("skipped "):
                    skipped.append(name)
                    note(name)
                else:
                    done += 1
    except Broken as e:
        raise UserError(f"{source} cannot be read: {e}") from None
    if not done:
        raise UserError(f"none of the {total} pictures of {source} could be read")
    body = {"out": str(out), "count": done, "skipped": skipped, "step": made.step}
    emit(body, json, lambda: f"{done} of {total} by step {made.step}: {out}")
