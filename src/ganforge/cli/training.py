"""train, resume, sample, recipes, inspect."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge.cli.common import (
    Checkpoint,
    Converged,
    Force,
    Images,
    Json,
    Minutes,
    NoEma,
    Recipe,
    RunFolder,
    Steps,
    app,
    as_yaml,
    finish,
    need_free,
    need_free_run,
    need_picture,
    open_studio,
    own_parts,
    show_plan,
)
from ganforge.cli.screen import Progress, emit, note, one_line, table


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(
            help="NAME[:CLASS[,CLASS]][@train|test|all], a folder, an archive or a file."
        ),
    ] = "fashion-mnist-mini",
    recipe: Annotated[
        str, typer.Option(help="See 'ganforge recipes'; or ./FILE.py:NAME.")
    ] = "auto",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", "--run-dir", help="The new run folder (torchrun takes --run for its own)."
        ),
    ] = None,
    steps: Steps = None,
    images: Images = None,
    minutes: Minutes = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate of every player.")] = None,
    size: Annotated[
        str | None, typer.Option(help="N or HxW; chosen from the data if not given.")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, max=16)] = None,
    width: Annotated[int | None, typer.Option(min=1, help="The networks' one dial.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Networks by torch.compile: for long trainings.")
    ] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    add: Annotated[
        list[str] | None, typer.Option(metavar="TERM=WEIGHT", help="An extra loss term.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Of an array: NHW, NHWC or NCHW.")] = None,
    range_: Annotated[
        str | None, typer.Option("--range", help="Of a float array: LOW,HIGH.")
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Share of a folder kept for testing.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets already lie.")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Fine-tune this run.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings and stop.")
    ] = False,
    stop_when_converged: Converged = False,
    studio: Annotated[bool, typer.Option("--studio", help="Watch it in a browser.")] = False,
    json: Json = False,
) -> None:
    """Train a generator."""
    from ganforge import api
    from ganforge.config import parse_settings, parse_terms
    from ganforge.errors import UserError

    settings = parse_settings(set_ or [])
    flags = {"steps": steps, "images": images, "minutes": minutes, "batch_size": batch_size, "lr": lr,
             "width": width, "seed": seed, "device": device, "size": size, "channels": channels,
             "compiled": compile_ or None, "layout": layout, "range": range_, "holdout": holdout,
             "data_root": None if data_root is None else str(data_root)}  # fmt: skip
    if run is not None and (run / "config.yaml").exists() and restarted() and api.ours(run):
        resume(run, recipe=recipe, stop_when_converged=stop_when_converged, json=json)
        return
    if run is not None:
        need_free_run(run)
    elif int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        raise UserError(
            "with --max-restarts a restart has to know which run to go on with; name its folder: --run-dir"
        )
    config, dataset, own = api.plan(
        data,
        recipe,
        settings=settings | {k: v for k, v in flags.items() if v is not None},
        terms=parse_terms(add or []),
    )
    config = api.begun_as(config, from_)
    expected = None
    if config.plan and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        expected = api.forecast(config, dataset, own)
        config = config.model_copy(update={"plan": [*config.plan, foreseen(expected)]})
    show_plan(config, dataset)
    if dry_run:
        api.check(config, own)
        emit(config.plain(), json, lambda: as_yaml(config.plain()))
        return
    path = run or api.new_name(config.recipe)
    with Progress(api.budget_of(api.with_budget(config)), open_studio(path, studio)) as progress:
        done = api.begin(
            config, dataset, own, path, start_from=from_, watch=progress.watch,
            stop_when_converged=stop_when_converged,
        )  # fmt: skip
    if expected is not None:
        kept_to(expected["images_per_s"], done.records())
    finish(done, json)


def foreseen(expected: dict[str, float]) -> str:
    """The forecast as a line of the plan."""
    speed, memory = expected["images_per_s"], expected["memory_mib"]
    return f"expected: {speed:,.0f} images/s and {memory:,.0f} MiB, by some turns that were tried"


def kept_to(expected: float, records: list[dict[str, Any]]) -> None:
    """Say why, where a training was not as fast as its plan had said."""
    speeds = sorted(r["speed"] for r in records if r.get("speed"))
    if len(speeds) < 5:
        return
    real = speeds[len(speeds) // 2]
    if real < 0.7 * expected:
        note(
            f"{real:,.0f} images/s in the median where {expected:,.0f} were expected: other programs took part of "
            "the machine, or it slowed down"
        )


def restarted() -> bool:
    """Whether torchrun has started this command anew after a process was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@app.command()
def resume(
    run: RunFolder,
    steps: Steps = None,
    images: Images = None,
    minutes: Minutes = None,
    recipe: Recipe = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the run's data are now, if they were moved.")
    ] = None,
    back_to: Annotated[
        str, typer.Option(help="best or a step: go back to it and on with halved rates.")
    ] = "latest",
    stop_when_converged: Converged = False,
    json: Json = False,
) -> None:
    """Continue a run exactly where it was left. Budgets count from the run's beginning."""
    from ganforge import api
    from ganforge import config as configuration
    from ganforge.run import Run
    from ganforge.sitting import Budget

    asked = Budget(steps, images, minutes)
    stored = api.budget_of(configuration.load(Run.open(run).config))
    with Progress(stored if asked == Budget() else asked) as progress:
        done = api.resume(
            run, steps=steps, images=images, minutes=minutes, data=data, watch=progress.watch,
            device=device, stop_when_converged=stop_when_converged, back_to=back_to, **own_parts(recipe),
        )  # fmt: skip
    finish(done, json)


@app.command()
def sample(
    run: RunFolder,
    count: Annotated[int | None, typer.Option(min=1, help="By default 64.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="FILE.png, .npy, .zip or a folder; of sounds .wav and .html too."),
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    label: Annotated[str | None, typer.Option(help="A class by name or number, or all.")] = None,
    code: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Fix a code.")
    ] = None,
    truncation: Annotated[float, typer.Option(help="In (0, 1]; lower is more typical.")] = 1.0,
    latent: Annotated[
        Path | None, typer.Option(help="Latents that 'ganforge invert' found.")
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(metavar="FILE:NUMBER=STRENGTH", help="Move along one of 'directions'."),
    ] = None,
    interpolate: Annotated[
        bool,
        typer.Option(
            "--interpolate", help="Rows of 8 from one latent to another; of --latent, to the next."
        ),
    ] = False,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    uint8: Annotated[bool, typer.Option("--uint8", help="Arrays as (N, H, W, C) bytes.")] = False,
    shard: Annotated[
        int | None,
        typer.Option(min=1, help="A folder of .npy files of so many each, and their index."),
    ] = None,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Make samples with a trained generator."""
    import torch

    from ganforge import api
    from ganforge.errors import UserError
    from ganforge.export.samples import (
        GRID,
        SHARD,
        free_name,
        parse_codes,
        write_samples,
        write_shards,
    )
    from ganforge.generator import chain, strips
    from ganforge.latents import load_latents, moved
    from ganforge.sounds import heard, is_sound, rate_of

    if out is not None:
        need_free(out, force)
        if shard and out.suffix:
            raise UserError(f"--shard makes a folder; {out} names a file")
    made = api.load(run, checkpoint, not no_ema, **own_parts(recipe))
    codes = parse_codes(code or [])
    if latent is not None:
        given = {"--label": label is not None, "--code": bool(codes), "--count": count is not None,
                 "--truncation": truncation != 1}  # fmt: skip
        if any(given.values()):
            named = ", ".join(k for k, v in given.items() if v)
            raise UserError(f"{latent} says which samples to make; leave {named} away")
    if interpolate and count is not None and count % 8:
        raise UserError(
            f"--interpolate makes rows of 8 samples; {count} were asked for, use --count "
            f"{count + -count % 8}"
        )
    # With all classes each stays in its column; without classes `ask` says what is wrong.
    columns = len(made.classes) if label == "all" and made.classes else None
    count = count or (columns * math.ceil(64 / columns) if columns else 64)
    if latent is None:
        made.ask(
            1, seed, label, codes, truncation
        )  # what cannot be is said before a file is touched
    if latent is None and direction is None and not interpolate:
        stream = made.stream(count, seed, label, codes, truncation)
    else:
        n = count // 4 if interpolate else count  # a pair of latents for each row of 8
        ask = (
            load_latents(latent, made)
            if latent is not None
            else made.ask(n, seed, label, codes, truncation)
        )
        if direction is not None:
            ask = ask._replace(latent=moved(ask, direction, made))
        if interpolate:
            shares = torch.linspace(0, 1, 8)
            ask = (chain if latent is not None else strips)(made.latent, ask, shares)
        assert ask.latent is not None
        stream, count = iter([made.make(ask)]), len(ask.latent)
    rate = None
    if is_sound(made.config):
        stream, rate = (heard(made.config, x) for x in stream), rate_of(made.config)
    if out is None and not shard and count > GRID:
        shard = SHARD  # more than a picture or a page holds
    path = out or free_name(
        run / "made", f"seed-{seed}", "" if shard else ".wav" if rate else ".png"
    )
    how = {"seed": seed, "step": made.step, "truncation": truncation, "ema": not no_ema}
    body = {"out": str(path), "count": count, **how}
    with Progress.counting(count, "samples") as progress:
        if shard:
            how |= {"label": label, "classes": made.classes if made.spec.classes else []}
            body["shards"] = write_shards(
                progress.through(stream), path, count, shard, uint8=uint8, about=how
            )
        else:
            write_samples(progress.through(stream), path, count, uint8=uint8, force=force,
                          rate=rate, columns=columns)  # fmt: skip
    emit(body, json, lambda: f"{count} samples of step {made.step}: {path}")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, whole.")] = None,
    json: Json = False,
) -> None:
    """List the recipes, or show one."""
    from ganforge import recipes as registry

    found = [registry.recipe(n) for n in ([name] if name else registry.names())]
    rows = [r.row() for r in found]

    def text() -> str:
        if not name:
            return table(["recipe", "objective", "family", "source"],
                         [[r["name"], r["objective"], r["family"], r["citation"].split(",")[0] + " "
                           + (r["citation"].split("arXiv")[-1].strip() if "arXiv" in r["citation"] else "")]
                          for r in rows])  # fmt: skip
        r = found[0]
        settings = "\n".join(f"  {k}: {v}" for k, v in r.settings.items())
        return (f"{r.name}: {rows[0]['objective']} x {rows[0]['family']}\n{r.about}\n\n"
                f"{r.citation}\n{r.headline}\n\n{settings}")  # fmt: skip

    emit(rows, json, text)


@app.command()
def inspect(
    data: Annotated[str, typer.Argument(help="A source, as for train.")],
    out: Annotated[Path | None, typer.Option(help="Where to write a grid picture.")] = None,
    size: Annotated[str | None, typer.Option()] = None,
    layout: Annotated[str | None, typer.Option()] = None,
    range_: Annotated[str | None, typer.Option("--range")] = None,
    data_root: Annotated[Path | None, typer.Option()] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Say what is in a source: count, sizes, classes, duplicates, every unreadable file."""
    from ganforge.data import inspect as look

    if out is not None:
        need_picture(out)
        need_free(out, force)
    options = {"size": size, "layout": layout, "range": range_, "data_root": data_root}
    found = look(data, **{k: v for k, v in options.items() if v is not None})
    if out is not None:
        import numpy as np

        from ganforge.data import open_source
        from ganforge.gallery import picture

        dataset = open_source(data, **{k: v for k, v in options.items() if v is not None})
        # From everywhere: what is sorted by class would show one.
        spread = np.linspace(0, len(dataset) - 1, min(64, len(dataset))).astype(np.int64)
        picture(dataset.batch(spread).real).save(out)

    def text() -> str:
        lines = [f"{found['readable']} of {found['count']} readable"]
        for key in ("sizes", "modes", "classes"):
            if found[key]:
                lines.append(
                    f"{key}: " + ", ".join(f"{k} ({v})" for k, v in list(found[key].items())[:12])
                )
        lines.append(f"duplicates: {found['duplicates']}")
        lines += [one_line(f"unreadable: {u['file']}: {u['reason']}") for u in found["unreadable"]]
        return "\n".join(lines)

    emit(found, json, text)
