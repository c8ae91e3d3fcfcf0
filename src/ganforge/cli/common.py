"""What the verbs share: the app, their options, and how they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge import __version__
from ganforge.cli.screen import emit, first, note
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


def show_plan(config: Any, dataset: Any) -> None:
    from ganforge.api import held_out_of

    shape = "x".join(map(str, config.spec.shape))
    note(f"data    {config.data}: {len(dataset)} samples of {shape}")
    note(f"recipe  {config.recipe}: {config.objective} x {config.family} {config.family_options}")
    for reason in config.plan:
        note(f"        {reason}")
    if held_out_of(config, dataset) is None:
        note(
            "        nothing is held out: quick scores compare with what is trained on, and nothing shows "
            "whether D memorises it; --holdout 0.1 keeps a tenth of a folder back"
        )


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


def own_parts(recipe: str | None) -> dict[str, Any]:
    """One's own parts, where a recipe file is named again."""
    if recipe is None:
        return {}
    from ganforge.recipes import recipe as find

    found = find(recipe)
    parts = {"objective": found.objective, "family": found.family}
    return {k: v for k, v in parts.items() if not isinstance(v, str)}


def need_free_run(run: Path) -> None:
    if (run / "config.yaml").exists():
        raise UserError(
            f"{run} is a run already; continue it with 'ganforge resume {run}' or choose another --run"
        )


def need_free(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise UserError(f"{out} exists; choose another --out, or overwrite it with --force")


def need_picture(out: Path) -> None:
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"{out} has an unknown ending; use .png, .jpg or .webp")


def as_yaml(plain: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(plain, sort_keys=False)


def open_studio(path: Path, wanted: bool) -> Any:
    if not (wanted and first()):
        return None
    import subprocess
    import sys

    note("studio  http://127.0.0.1:8765")
    return subprocess.Popen([sys.executable, "-m", "ganforge", "studio", str(path.parent)])
