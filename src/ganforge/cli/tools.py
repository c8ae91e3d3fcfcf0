"""toy, export, studio."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge.cli.common import (
    Checkpoint,
    Force,
    Json,
    Minutes,
    NoEma,
    Recipe,
    RunFolder,
    Steps,
    app,
    need_free,
    need_picture,
    own_parts,
)
from ganforge.cli.screen import emit, note


@app.command()
def toy(
    kind: Annotated[str, typer.Argument(metavar="ring|grid|line|stacked-mnist")],
    recipe: Annotated[
        str | None, typer.Option(help="See 'ganforge recipes'; r3gan, for line gan.")
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Annotated[int, typer.Option()] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the picture; line writes a GIF beside it.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where MNIST lies, for stacked-mnist.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Play where the truth is known: count modes, or draw the game in one dimension, live."""
    from ganforge.config import parse_settings
    from ganforge.errors import UserError

    settings = parse_settings(set_ or [])
    if out is not None:
        need_picture(out)
        need_free(out, force)
        if not out.parent.is_dir():
            raise UserError(f"{out.parent} is no folder; make it, or choose another --out")
    told = [k for k in ("steps", "images", "minutes") if k in settings]
    if told:
        raise UserError(
            f"a toy's length is told by --steps or --minutes; leave --set {told[0]} away"
        )
    if kind == "line":
        if minutes is not None:
            raise UserError("toy line is told its length by --steps; leave --minutes away")
        body = _line(recipe or "gan", steps or 2000, seed, settings, out or Path("line.png"), force)
        emit(body, json, lambda: f"{body['out']}  {body['film']}  mean |D - D*| {body['gap']:.3f}")
        return
    from ganforge.sitting import Budget
    from ganforge.toys import play

    budget = Budget(steps=steps, minutes=minutes) if steps or minutes else None
    body = play(kind, recipe or "r3gan", seed=seed, budget=budget, settings=settings, out=out,
                data_root=data_root, say=note)  # fmt: skip
    kl = "undefined" if body["kl"] is None else f"{body['kl']:.3f} (floor {body['kl_floor']:.3f})"
    emit(body, json, lambda: (
        f"modes {body['modes']} of {body['total']}  high quality {body['high_quality']:.1%}  "
        f"reverse KL {kl}  n {body['n']}"
    ))  # fmt: skip


def _line(
    recipe: str, steps: int, seed: int, settings: dict[str, Any], out: Path, force: bool
) -> dict[str, Any]:
    from ganforge.toyline import Moment, draw, film, strip

    moving = out.with_suffix(".gif")
    need_free(out, force)
    need_free(moving, force)
    shown = time.monotonic()

    def live(m: Moment) -> None:
        """The picture as it stands, for a viewer that follows the file."""
        nonlocal shown
        if time.monotonic() - shown > 0.5 and m.step < steps:
            shown = time.monotonic()
            draw(m).save(out)
            note(f"step {m.step} of {steps}  mean |D - D*| {m.gap:.3f}  {out}")

    moments = film(recipe, steps, seed, settings=settings, watch=live)
    strip(moments).save(out)
    frames = [draw(m).quantize(32) for m in moments]
    times = [120] * (len(frames) - 1) + [2000]
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=times, loop=0)
    return {"out": str(out), "film": str(moving), "steps": moments[-1].step, "gap": moments[-1].gap,
            "mean": float(moments[-1].x.mean()), "seed": seed}  # fmt: skip


@app.command()
def export(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="onnx or safetensors.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="The file; RUN/generator.FORMAT if not given.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="The other way (cyclegan).")] = False,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write the generator for use elsewhere; ONNX is checked against PyTorch."""
    from ganforge import api
    from ganforge.export.networks import export as write
    from ganforge.export.networks import turned

    path = out or run / f"{'back' if back else 'generator'}.{format}"
    need_free(path, force)
    made = api.load(run, checkpoint, not no_ema, device="cpu", **own_parts(recipe))
    body = write(turned(made) if back else made, format, path)
    emit(body, json, lambda: f"{path}: inputs {body['inputs']}, largest difference "
                             f"{body['largest_difference']:.1e}")  # fmt: skip


@app.command()
def studio(
    runs: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8765,
    host: Annotated[
        str, typer.Option(help="Any address but this machine's own needs a token.")
    ] = "127.0.0.1",
) -> None:
    """Watch runs, steer them and walk through their latent spaces, in a browser."""
    try:
        from ganforge.studio import serve
    except ModuleNotFoundError as e:
        from ganforge.errors import UserError

        raise UserError(f"the studio needs {e.name}; pip install 'ganforge[studio]'") from None

    serve(runs, host=host, port=port)
