"""The verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge import __version__
from ganforge.cli.screen import Progress, emit, note, table
from ganforge.errors import UserError

app = typer.Typer(
    name="ganforge",
    help="Train, judge and use generative adversarial networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Turns, from the run's beginning.")]
Images = Annotated[int | None, typer.Option(min=1, help="Real images drawn by D, likewise.")]
Minutes = Annotated[float | None, typer.Option(help="Training time, likewise.")]
Checkpoint = Annotated[str, typer.Option(help="latest, best or a step.")]
NoEma = Annotated[bool, typer.Option("--no-ema", help="The raw weights, not their average.")]
Converged = Annotated[
    bool, typer.Option("--stop-when-converged", help="Stop when the score is flat.")
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="The recipe, or your own as ./FILE.py:NAME, for a run that was made with it."
    ),
]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


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
    run: Annotated[Path | None, typer.Option(help="The new run folder.")] = None,
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

    settings = parse_settings(set_ or [])
    flags = {"steps": steps, "images": images, "minutes": minutes, "batch_size": batch_size, "lr": lr,
             "width": width, "seed": seed, "device": device, "size": size, "channels": channels,
             "layout": layout, "range": range_, "holdout": holdout,
             "data_root": None if data_root is None else str(data_root)}  # fmt: skip
    if run is not None:
        _free_run(run)
    config, dataset, own = api.plan(
        data, recipe, settings=settings, terms=parse_terms(add or []), **flags
    )
    show_plan(config, dataset)
    if dry_run:
        emit(config.plain(), json, lambda: _yaml(config.plain()))
        return
    path = run or api.new_name(config.recipe)
    with Progress(api.budget_of(api.with_budget(config)), _studio(path, studio)) as progress:
        done = api.begin(
            config, dataset, own, path, start_from=from_, watch=progress.watch,
            stop_when_converged=stop_when_converged,
        )  # fmt: skip
    finish(done, json)


@app.command()
def resume(
    run: RunFolder,
    steps: Steps = None,
    images: Images = None,
    minutes: Minutes = None,
    recipe: Recipe = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
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
            run, steps=steps, images=images, minutes=minutes, watch=progress.watch, device=device,
            stop_when_converged=stop_when_converged, **_own(recipe),
        )  # fmt: skip
    finish(done, json)


@app.command()
def sample(
    run: RunFolder,
    count: Annotated[int, typer.Option(min=1)] = 64,
    out: Annotated[
        Path | None, typer.Option(help="FILE.png, FILE.npy, FILE.zip or a folder.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    label: Annotated[str | None, typer.Option(help="A class by name or number, or all.")] = None,
    code: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Fix a code.")
    ] = None,
    truncation: Annotated[float, typer.Option(help="In (0, 1]; lower is more typical.")] = 1.0,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Walks between latents.")
    ] = False,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    uint8: Annotated[bool, typer.Option("--uint8", help="Arrays as (N, H, W, C) bytes.")] = False,
    recipe: Recipe = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Make samples with a trained generator."""
    from ganforge import api
    from ganforge.export.samples import free_name, parse_codes, write_samples

    if out is not None:
        _free(out, force)
    made = api.load(run, checkpoint, not no_ema, **_own(recipe))
    codes = parse_codes(code or [])
    if interpolate:
        rows = max(1, count // 8)
        stream, count = iter([made.interpolate(rows, 8, seed, label, truncation)]), rows * 8
    else:
        stream = made.stream(count, seed, label, codes, truncation)
    path = out or free_name(run / "made", f"seed-{seed}", ".png")
    with Progress.counting(count, "samples") as progress:
        write_samples(progress.through(stream), path, count, uint8=uint8, force=force)
    body = {"out": str(path), "count": count, "seed": seed, "step": made.step,
            "truncation": truncation, "ema": not no_ema}  # fmt: skip
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
        _free(out, force)
    options = {"size": size, "layout": layout, "range": range_, "data_root": data_root}
    found = look(data, **{k: v for k, v in options.items() if v is not None})
    if out is not None:
        from ganforge.data import open_source
        from ganforge.gallery import picture

        dataset = open_source(data, **{k: v for k, v in options.items() if v is not None})
        import numpy as np

        picture(dataset.batch(np.arange(min(64, len(dataset)))).real).save(out)

    def text() -> str:
        lines = [f"{found['readable']} of {found['count']} readable"]
        for key in ("sizes", "modes", "classes"):
            if found[key]:
                lines.append(
                    f"{key}: " + ", ".join(f"{k} ({v})" for k, v in list(found[key].items())[:12])
                )
        lines.append(f"duplicates: {found['duplicates']}")
        lines += [f"unreadable: {u['file']}: {u['reason']}" for u in found["unreadable"]]
        return "\n".join(lines)

    emit(found, json, text)


# -- shared ---------------------------------------------------------------------------------
def show_plan(config: Any, dataset: Any) -> None:
    shape = "x".join(map(str, config.spec.shape))
    note(f"data    {config.data}: {len(dataset)} samples of {shape}")
    note(f"recipe  {config.recipe}: {config.objective} x {config.family} {config.family_options}")
    for reason in config.plan:
        note(f"        {reason}")


def finish(run: Any, json: bool) -> None:
    """Say how a sitting ended and exit with its code."""
    records = [r for r in run.records() if "step" in r]
    last = records[-1]
    samples = run.samples()
    body = {
        "run": str(run.path),
        "reason": run.outcome.reason,
        "message": run.outcome.message,
        "step": last["step"],
        "images": last["images"],
        "seconds": last["seconds"],
        "samples": str(samples[-1][1]) if samples else None,
        "report": str(run.path / "report.html") if (run.path / "report.html").exists() else None,
    }

    def text() -> str:
        lines = [f"{run.outcome.message}: step {last['step']}, {last['images']} images"]
        lines += [f"{k:8s}{body[k]}" for k in ("run", "samples", "report") if body[k]]
        return "\n".join(lines)

    emit(body, json, text)
    raise typer.Exit(run.outcome.code)


def _own(recipe: str | None) -> dict[str, Any]:
    """One's own parts, where a recipe file is named again."""
    if recipe is None:
        return {}
    from ganforge.recipes import recipe as find

    found = find(recipe)
    parts = {"objective": found.objective, "family": found.family}
    return {k: v for k, v in parts.items() if not isinstance(v, str)}


def _free_run(run: Path) -> None:
    if (run / "config.yaml").exists():
        raise UserError(
            f"{run} is a run already; continue it with 'ganforge resume {run}' or choose another --run"
        )


def _free(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise UserError(f"{out} exists; choose another --out, or overwrite it with --force")


def _yaml(plain: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(plain, sort_keys=False)


def _studio(path: Path, wanted: bool) -> Any:
    if not wanted:
        return None
    import subprocess
    import sys

    note("studio  http://127.0.0.1:8765")
    return subprocess.Popen([sys.executable, "-m", "ganforge", "studio", str(path.parent)])
