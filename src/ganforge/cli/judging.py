"""score, diagnose, report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge.cli.common import (
    Checkpoint,
    Images,
    Json,
    Minutes,
    NoEma,
    Recipe,
    RunFolder,
    app,
    own_parts,
)
from ganforge.cli.screen import emit, note, table


@app.command()
def score(
    made: Annotated[Path, typer.Argument(metavar="RUN|FOLDER|ZIP|FILE.npy")],
    reference: Annotated[
        str | None, typer.Option(help="Real data; for a run its own, by default the test split.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="lite, classifier, inception, dinov2, logmel, raw, or a file."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The feature network's weights.")] = None,
    count: Annotated[int, typer.Option(min=2, help="Samples of each kind at most.")] = 10_000,
    metric: Annotated[list[str] | None, typer.Option(help="Only these metrics.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    truncation: Annotated[float, typer.Option()] = 1.0,
    label: Annotated[str | None, typer.Option(help="Only this class.")] = None,
    size: Annotated[str | None, typer.Option(help="Bring both to N or HxW.")] = None,
    channels: Annotated[int | None, typer.Option(min=1, max=16)] = None,
    data_root: Annotated[Path | None, typer.Option()] = None,
    checkpoint: Checkpoint = "latest",
    no_ema: NoEma = False,
    recipe: Recipe = None,
    json: Json = False,
) -> None:
    """Judge samples against real ones: every score with its interval, floor and protocol."""
    from ganforge import api
    from ganforge.config import load
    from ganforge.errors import UserError
    from ganforge.judging.protocol import score as judge
    from ganforge.run import Run
    from ganforge.sounds import Hearing, is_sound

    fake: Any = str(made)
    options: dict[str, Any] = {"size": size, "channels": channels, "data_root": data_root}
    run = Run(made) if (made / "config.yaml").is_file() else None
    if run is not None:
        config = run.config
        options = api.alike(load(config)) | {k: v for k, v in options.items() if v}
        reference = reference or api.reference_of(load(config))
        fake = api.load(made, checkpoint, not no_ema, **own_parts(recipe))
        if is_sound(config):  # what was learnt as pictures is judged by ear
            dropped = ("view", "size", "channels") if "view" in options else ()
            options = {k: v for k, v in options.items() if k not in dropped}
            fake = Hearing(fake)
    if reference is None:
        raise UserError("--reference DATA is needed: what are these samples to be compared with?")
    found = judge(
        fake, reference, features=features, weights=weights, n=count, metrics=metric or None,
        seed=seed, truncation=truncation, label=label, ema=not no_ema, options=options, say=saying(),
    )  # fmt: skip
    for warning in found["protocol"]["warnings"]:
        note(f"warning: {warning}")
    if run is not None:
        note(f"kept as {run.add_score(found['protocol']['features']['name'], found)}")
    emit(found, json, lambda: score_table(found))


@app.command()
def diagnose(run: RunFolder, json: Json = False) -> None:
    """Say in plain words how a training is, or was, and what to do."""
    from ganforge.judging.health import diagnose as judge
    from ganforge.run import Run

    found = judge(Run.open(run).records())
    emit(found, json, lambda: f"{found['verdict']}: {found['sentence']}\n{found['remedy']}")


@app.command()
def report(run: RunFolder, json: Json = False) -> None:
    """Write RUN/report.html: one file that opens with no network."""
    from ganforge.judging.report import report as write
    from ganforge.run import Run

    path = write(Run.open(run))
    emit({"report": str(path)}, json, lambda: str(path))


@app.command()
def compare(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...")],
    data: Annotated[str, typer.Option(help="A source, as for train.")] = "fashion-mnist-mini",
    out: Annotated[Path, typer.Option(help="Where results and tables go.")] = Path("comparison"),
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    minutes: Minutes = None,
    images: Images = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=V1,V2", help="Values to sweep over."),
    ] = None,
    features: Annotated[str | None, typer.Option(help="Of the scores.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 1,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster.")] = None,
    cut: Annotated[bool, typer.Option("--cut", help="Stop hopeless trainings early.")] = False,
    json: Json = False,
) -> None:
    """Train recipes with equal budgets, score them by one protocol, write tables and curves."""
    from ganforge.compare import compare as run
    from ganforge.config import parse_settings, parse_value

    sweep = {
        key: value if isinstance(value, list) else [parse_value(v) for v in str(value).split(",")]
        for key, value in parse_settings(set_ or []).items()
    }
    found = run(
        recipes, data, out=out, seeds=seeds, minutes=minutes, images=images, sweep=sweep,
        features=features, workers=workers, ray=ray, cut=cut, say=note,
    )  # fmt: skip
    emit(found, json, lambda: "\n".join(f"{k}: {v}" for k, v in found["files"].items()))


def score_table(found: dict[str, Any]) -> str:
    """The scores and the parts of their protocol without which they mean nothing."""
    rows = [
        [
            name,
            *(("-" if m[k] is None else f"{m[k]:.4g}") for k in ("value", "low", "high", "floor")),
        ]
        for name, m in found["metrics"].items()
    ]
    p = found["protocol"]
    reference = f"{p['reference'].get('name')}@{p['reference'].get('split')}"
    from ganforge.judging.protocol import beside

    known, everybody = beside(found)
    lines = [
        [who, *("-" if v is None else f"{v:.4g}" for v in row)] for who, row in everybody.items()
    ]
    simple = "\n\n" + table(["beside simple means", *known], lines) if lines else ""
    return (
        table(["metric", "value", "low", "high", "real data"], rows)
        + simple
        + f"\n\n{p['features']['name']} features, {p['n_fake']} samples against {p['n_real']} of {reference}"
    )


def saying() -> Any:
    """Progress of a long judgement, now and then."""
    import time

    last = time.monotonic()

    def say(what: str, done: int = 0, total: int = 0) -> None:
        nonlocal last
        if time.monotonic() - last > 5:
            last = time.monotonic()
            note(f"{what}: {done} of {total}" if total else what)

    return say
