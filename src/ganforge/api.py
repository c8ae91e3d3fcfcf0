"""The public verbs: train, resume, load. The command line and the studio are thin over these."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge import config as configuration
from ganforge import recipes
from ganforge.build import (
    Own,
    build_game,
    build_trainer,
    own_names,
    own_of,
    pick_device,
    show_components,
)
from ganforge.config import Config
from ganforge.data import Dataset, open_source
from ganforge.data.source import parse
from ganforge.data.sourced import HALVES
from ganforge.errors import Lost, UserError
from ganforge.generator import Generator
from ganforge.run import Run
from ganforge.sitting import Budget, Sitting, last_whole
from ganforge.sounds import is_sound, keep_sounds
from ganforge.training.distributed import World, barrier, join, of_first

if TYPE_CHECKING:
    from ganforge.build import Game
    from ganforge.objectives.objective import Family, Objective
    from ganforge.training.trainer import Trainer

Watcher = Callable[[dict[str, Any]], None]
DEFAULT_DATA = "fashion-mnist-mini"
OPENING = ("size", "channels", "layout", "range", "holdout", "data_root", "degrade", "inputs",
           "paired", "samples", "rate", "slices",
           "view")  # fmt: skip


def plan(
    data: Any = DEFAULT_DATA,
    recipe: str | recipes.Recipe = "auto",
    *,
    settings: Mapping[str, Any] | None = None,
    terms: Mapping[str, float] | None = None,
    objective: Objective | type[Objective] | str | None = None,
    family: Family | type[Family] | str | None = None,
    **more: Any,
) -> tuple[Config, Dataset, Own]:
    """Open the data and settle every setting, as `--dry-run` shows it; nothing is trained.
    The arguments are those of `train`.

    Raises:
        UserError: the data cannot be opened, or a setting does not fit.
    """
    chosen = recipes.recipe(recipe) if isinstance(recipe, str) else recipe
    if isinstance(data, os.PathLike):
        data = os.fspath(data)
    flat: dict[str, Any] = dict(settings or {}) | {
        k: v for k, v in more.items() if v is not None or is_option(k)
    }
    if isinstance(objective, str):
        flat["objective"], objective = objective, None
    if isinstance(family, str):
        flat["family"], family = family, None
    configuration.check_game(flat.get("objective"))
    theirs = own_of(chosen)
    own = Own(objective or theirs.objective, family or theirs.family)
    opening = {k: v for k, v in chosen.settings.items() if k in OPENING} | flat
    options = {k: v for k in OPENING if (v := opening.get(k)) is not None}
    flat = {k: v for k, v in flat.items() if k not in OPENING}
    chosen = replace(
        chosen, settings={k: v for k, v in chosen.settings.items() if k not in OPENING}
    )
    dataset = open_source(data, **options)
    flat["terms"] = {**configuration.term_weights(flat.get("terms")), **(terms or {})}
    parts = {"objective": own.objective, "family": own.family}
    reasons: list[str] = []
    if chosen.plan is not None:
        given = {**parts, "terms": flat["terms"]}
        planned, reasons = chosen.plan(dataset, flat | {k: v for k, v in given.items() if v})
        chosen = chosen.with_settings(planned)
    if isinstance(own.objective, type):
        flat["objective"] = own.objective
    if isinstance(own.family, type):
        flat["family"] = own.family
    config = configuration.resolve(
        chosen,
        flat,
        shape=tuple(dataset.shape),
        source=getattr(dataset, "source_shape", None),
        class_names=list(dataset.classes),
        rules=None if own.objective is None or isinstance(own.objective, type) else own.objective,
        data=data if isinstance(data, str) else f"array:{dataset.fingerprint[:12]}",
        data_options=options,
        dataset=dataset.describe(),
        plan=reasons,
    )
    return config.model_copy(update=own_names(own)), dataset, own


def check(config: Config, own: Own | None = None) -> None:
    """Build the networks, the game and its terms as a training would, and drop them.

    Raises:
        UserError: they do not fit each other or the data, or the device is not there.
    """
    build_game(config, own, pick_device(config.device))


def forecast(config: Config, dataset: Dataset, own: Own | None = None) -> dict[str, float]:
    """What a training will take, from some turns that are tried and forgotten: real images a
    second, and memory in MiB (of the process; on an accelerator, of that)."""
    import resource
    import sys

    import torch

    device = pick_device(config.device)
    trainer = build_trainer(build_game(config, own, device), dataset)
    began, taken = time.monotonic(), []
    try:
        with _room(config):
            while len(taken) < 2 or (len(taken) < 20 and time.monotonic() - began < 0.5):
                t = time.monotonic()
                trainer.turn().non_finite()  # which waits until it is done
                taken.append(time.monotonic() - t)
    finally:
        dataset.rest()
    speed = trainer.images / len(taken) / statistics.median(taken[1:])  # the first one is slow
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = peak if sys.platform == "darwin" else peak * 1024
    return {"images_per_s": speed, "memory_mib": memory / 2**20}


def is_option(name: str) -> bool:
    """Whether a setting is an option of the objective or the family, where None is a value."""
    return name not in OPENING and name not in Config.model_fields


def train(
    data: Any = DEFAULT_DATA,
    recipe: str | recipes.Recipe = "auto",
    run: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    terms: Mapping[str, float] | None = None,
    objective: Objective | type[Objective] | str | None = None,
    family: Family | type[Family] | str | None = None,
    start_from: str | Path | None = None,
    watch: Watcher | None = None,
    stop_when_converged: bool = False,
    **more: Any,
) -> Run:
    """Train a generator.

    Args:
        data: a source (see docs/data.md) as text or a path, an array (N, ...) or an opened Dataset.
        recipe: a recipe's name, ./FILE.py:NAME, or a `Recipe`.
        run: the new run folder; runs/RECIPE-NUMBER if not given.
        settings: what `--set` takes; keyword arguments are the same (steps=100, lr=1e-4). An
            argument of the training that is None counts as not given; an option of the objective
            or the family may be None (d_norm=None).
        terms: extra terms and their weights, what `--add` takes.
        objective, family: names, or classes or objects of your own.
        start_from: a run whose networks to start from (fine-tuning).
        watch: called with every record.

    Returns:
        The run; `run.outcome` says how the sitting ended.

    Raises:
        UserError: anything that the caller can mend.
    """
    config, dataset, own = plan(
        data, recipe, settings=settings, terms=terms, objective=objective, family=family, **more
    )
    return begin(
        config, dataset, own, run, start_from=start_from, watch=watch,
        stop_when_converged=stop_when_converged,
    )  # fmt: skip


def begin(
    config: Config,
    dataset: Dataset,
    own: Own | None = None,
    run: str | Path | None = None,
    *,
    start_from: str | Path | None = None,
    watch: Watcher | None = None,
    stop_when_converged: bool = False,
) -> Run:
    """Train what `plan` settled, in a new run folder."""
    device = pick_device(config.device)
    path = Path(run) if run is not None else new_name(config.recipe)
    here = join(device)
    _share_alike(config.batch_size, here)
    config = with_budget(with_horizon(config, own))
    config = begun_as(config, start_from)
    game = build_game(config, own, device)
    if start_from is not None:
        _start_from(game, Run.open(start_from))
        config = config.model_copy(update={"start_from": str(start_from)})
    began = time.monotonic()
    show_components(game, dataset)
    spent = of_first(time.monotonic() - began, device)  # what was learned so counts as training
    trainer = build_trainer(game, dataset, here)
    folder = Run.create(path, config.plain()) if here.first else Run(path)
    if here.first and (launch := _launch()):
        (path / LAUNCH).write_text(launch)
    barrier()
    budget = budget_of(config)
    return _sit(folder, game, trainer, dataset, budget, watch, stop_when_converged, spent=spent)


LAUNCH = ".launch"
"""Names torchrun's call that began a run: its restart goes on with this run and no other."""


def _launch() -> str:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ""
    return f"{os.environ['TORCHELASTIC_RUN_ID']} {os.getppid()}"


def ours(run: Path) -> bool:
    """Whether torchrun's call that started this process also began the run; processes other
    than the first leave that to the first."""
    if int(os.environ.get("RANK", "0")) != 0:
        return True
    mark = run / LAUNCH
    return mark.exists() and mark.read_text() == _launch()


def resume(
    run: str | Path,
    *,
    steps: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    data: Any = None,
    objective: Objective | type[Objective] | None = None,
    family: Family | type[Family] | None = None,
    watch: Watcher | None = None,
    stop_when_converged: bool = False,
    device: str | None = None,
    back_to: str | int = "latest",
) -> Run:
    """Continue a run exactly where it was left. Budgets count from the run's beginning; if
    none is given, the run's own holds.

    Args:
        run: the run folder.
        steps, images, minutes: the budget.
        data: the run's data, where they were an array or lie elsewhere now; they must be the
            same samples.
        objective, family: one's own, where the run was made with them.
        watch: called with every record.
        stop_when_converged: stop when the score is flat.
        device: where to go on; the run's own if not given.
        back_to: go back to a checkpoint ("best" or a step) and on from there with halved rates;
            what lies beyond is kept in left-NUMBER/ in the run folder.

    Raises:
        UserError: not a run, no such checkpoint, another process trains it, the data have changed.
    """
    folder = Run.open(run)
    config = configuration.load(folder.config)
    place = pick_device(device or config.device)
    here = join(place)
    _share_alike(config.batch_size, here)
    if data is None and config.data.startswith("array:"):
        raise UserError(
            f"{run} was trained on an array; pass it again: ganforge.resume(run, data=...)"
        )
    if isinstance(data, str | os.PathLike):
        config = config.model_copy(update={"data": os.fspath(data)})
    try:
        dataset = open_source(config.data if data is None else data, **config.data_options)
    except UserError as e:
        raise UserError(
            f"the data of {run} cannot be opened: {e}. Put them back, or say where they are with "
            "--data (paths count from the folder where the command is given)"
        ) from None
    was, now = config.dataset.get("fingerprint"), dataset.describe().get("fingerprint")
    if was != now:
        raise UserError(
            f"the data of {run} have changed since it began ({config.data}); restore them, or start "
            f"a new run from its networks: ganforge train {config.data} --from {run}"
        )
    own = Own(objective, family)
    game = build_game(config, own, place)
    trainer = build_trainer(game, dataset, here, fresh=False)
    asked = Budget(steps, images, minutes)
    budget = budget_of(config) if asked == Budget() else asked
    return _sit(folder, game, trainer, dataset, budget, watch, stop_when_converged, back_to)


def load(
    run: str | Path,
    checkpoint: str | int = "latest",
    ema: bool = True,
    *,
    objective: Objective | type[Objective] | None = None,
    family: Family | type[Family] | None = None,
    device: str = "auto",
) -> Generator:
    """The generator of a run, ready to sample: `ganforge.load(run).sample(16)`.

    Raises:
        UserError: not a run, no such checkpoint, or it is damaged.
    """
    return Generator(Run.open(run), checkpoint, ema, Own(objective, family), device)


def _sit(
    folder: Run,
    game: Game,
    trainer: Trainer,
    dataset: Dataset,
    budget: Budget,
    watch: Watcher | None,
    stop_when_converged: bool,
    back_to: str | int = "latest",
    spent: float = 0.0,
) -> Run:
    from ganforge.judging.watch import Watch

    with _tensorboard(folder) as board:
        watchers = [board] if watch is None else [watch, board]
        held_out = held_out_of(game.config, dataset)
        judge = Watch(dataset, held_out, seed=game.config.seed)
        sitting = Sitting(
            folder, game, trainer, budget, watchers, judge,
            stop_when_converged=stop_when_converged, held_out=held_out, back_to=back_to,
            spent=spent,
        )  # fmt: skip
        try:
            with _together(folder, trainer.world), _room(game.config):
                folder.outcome = sitting.sit()
        finally:
            for opened in (dataset, held_out):
                if opened is not None:
                    opened.rest()
    if trainer.world.first:
        from ganforge.judging.report import keep_neighbours, report

        if len(game.spec.shape) == 3 and game.spec.source is None:
            keep_neighbours(folder, sitting.samples().float().cpu(), dataset)
        if is_sound(game.config.plain()):
            keep_sounds(folder, sitting.samples()[:16].float().cpu())
        report(folder)
    return folder


def _share_alike(batch_size: int, here: World) -> None:
    """Averages over processes are the global batch's only where each has as many samples.

    Raises:
        UserError: they do not divide.
    """
    n, processes = batch_size, here.size
    if n % processes:
        low = n - n % processes
        fit = " or ".join(str(k) for k in (low, low + processes) if k)
        raise UserError(
            f"a batch of {n} cannot be shared evenly by {processes} processes; start a run with "
            f"--batch-size {fit}, or as many processes as divide {n}"
        )


@contextlib.contextmanager
def _room(config: Config) -> Iterator[None]:
    """Raises: UserError: the memory is too small for such a training."""
    import torch

    try:
        yield
    except RuntimeError as e:
        if not isinstance(e, torch.OutOfMemoryError) and "allocate memory" not in str(e):
            raise
        less = max(1, config.batch_size // 2)
        raise UserError(
            f"the memory is too small for batches of {config.batch_size} samples of {config.spec.shape} "
            f"with these networks; use --batch-size {less}, a smaller --width or a smaller --size"
        ) from None


@contextlib.contextmanager
def _together(folder: Run, here: World) -> Iterator[None]:
    """Raises: Lost: another process is gone, noticed in what was to be exchanged with it."""
    try:
        yield
    except RuntimeError as e:
        said = str(e).strip().splitlines()[0]
        if here.size == 1 or not re.search("peer|gloo|nccl|socket|connection", said, re.IGNORECASE):
            raise
        why = re.sub(r"^\[\S*\]\s*", "", said)
        have = folder.checkpoints()
        message = (
            f"a process of this run was lost ({why[:120]}); process {here.rank} of {here.size} stops. "
            f"The checkpoint of step {have[-1][0] if have else 0} is whole: resume, or let torchrun "
            "do it (--max-restarts)"
        )
        if here.first and (records := folder.records()):
            at = {k: records[-1][k] for k in ("step", "images", "seconds")}
            folder.append(at | {"event": "stop", "message": message})
        raise Lost(message) from e


def held_out_of(config: Config, dataset: Dataset) -> Dataset | None:
    """Samples like these that are not trained on: the other split, brought to the same size;
    None where there is none."""
    if config.data.startswith("array:"):
        return None
    split = {None: "test", "train": "test", "test": "train"}.get(parse(config.data).split)
    if split is None:
        return None
    try:
        return open_source(config.data, split=split, **alike(config))
    except UserError:
        return None


def reference_of(config: Config) -> str:
    """The source that a run is judged by when nobody says: its data's other split, as text."""
    split = parse(config.data).split
    whole = config.data.removesuffix(f"@{split}")
    return f"{whole}@train" if split == "test" else whole


def alike(config: Config) -> dict[str, Any]:
    """What opens other data in the form of a run's own. Sounds that are seen as pictures have
    no size of their own."""
    shape = config.spec.shape
    if len(shape) != 3 or "view" in config.data_options:
        return dict(config.data_options)
    found = config.data_options | {"size": list(shape[1:]), "channels": shape[0]}
    if config.spec.source is not None and found.get("inputs") not in (None, *HALVES):
        found["source_channels"] = config.spec.source[0]
    return found


@contextlib.contextmanager
def _tensorboard(run: Run) -> Iterator[Watcher]:
    """TensorBoard event files beside records.jsonl, for those who use it."""
    writer: Any = None

    def write(record: dict[str, Any]) -> None:
        nonlocal writer
        if writer is None:  # its import is slow, and a run without records needs none
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(run.path / "tensorboard"))
        for group in ("loss", "reading", "grad", "rate", "score"):
            for name, value in (record.get(group) or {}).items():
                value = value.get("value") if isinstance(value, dict) else value
                if value is not None:
                    writer.add_scalar(f"{group}/{name}", value, record["step"])

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _start_from(game: Game, run: Run) -> None:
    """Copy the networks of another run (its averaged ones where there are). Those that make
    samples have to fit; another (the critic of a game that had none) may start afresh."""
    import torch

    from ganforge.data.augment import Augmented

    tensors, _ = last_whole(run)
    saved = {**tensors["networks"], **tensors["ema"]}
    # A critic itself, whether or not it sees augmented samples here or saw them there.
    nets = torch.nn.ModuleDict(
        {k: n.critic if isinstance(n, Augmented) else n for k, n in game.nets.items()}
    )
    for name in {k.partition(".")[0] for k in saved if k.endswith(".augment.p")}:
        inside = f"{name}.critic."
        saved = {k.replace(inside, f"{name}.", 1) if k.startswith(inside) else k: v
                 for k, v in saved.items() if k != f"{name}.augment.p"}  # fmt: skip
    needed = set(game.objective.sampled)
    mine = nets.state_dict()
    fitting = {k: v for k, v in saved.items() if k in mine and mine[k].shape == v.shape}
    had = {k.partition(".")[0] for k in saved}
    missing = [k for k in mine if k not in fitting and k.partition(".")[0] in needed | had]
    if missing:
        raise UserError(
            f"the networks of {run.path} do not fit this run ({missing[0]} differs or is missing, "
            f"{len(missing)} in all); use the same recipe, --size, --width, components, conditioning and classes"
        )
    nets.load_state_dict(fitting, strict=False)


def begun_as(config: Config, start_from: str | Path | None) -> Config:
    """With as many components as the run to start from has, whatever a rule chose here."""
    if start_from is None:
        return config
    theirs = Run.open(start_from).config.get("components", 0)
    if theirs == config.components:
        return config
    if theirs and (config.latent.kind != "normal" or config.latent.size < theirs):
        raise UserError(
            f"the generator of {start_from} began with {theirs} components, for which it takes as many "
            f"normal latents; use --set latent.kind=normal --set latent.size=NUMBER as that run has it"
        )
    why = [line for line in config.plan if "principal components" not in line]
    why.append(f"components={theirs}, as {start_from} has it")
    return config.model_copy(update={"components": theirs, "plan": why})


def budget_of(config: Config) -> Budget:
    return Budget(config.steps, config.images, config.minutes)


def with_budget(config: Config) -> Config:
    """Two minutes, where nobody said how long."""
    if any((config.steps, config.images, config.minutes)):
        return config
    return config.model_copy(update={"minutes": 2.0})


def with_horizon(config: Config, own: Own | None) -> Config:
    """Schedules run over the budget in images that the run began with, unless the recipe
    says otherwise; later sittings never change it."""
    if config.horizon is not None:
        return config
    horizon = config.images
    if horizon is None and config.steps is not None:
        import torch

        first = build_game(config, own, torch.device("cpu")).objective.players()[0]
        horizon = -(-config.steps // first.every) * first.steps * config.batch_size
    falls = config.rate_end != 1 or config.objective_options.get("gamma_end") is not None
    if horizon is None and falls:
        raise UserError(
            "rate_end and gamma_end are reached at the end of a training whose length in images is "
            "known; give --images or --steps, or --set horizon=IMAGES beside --minutes"
        )
    return config.model_copy(update={"horizon": horizon})


def new_name(recipe: str) -> Path:
    """runs/RECIPE-NUMBER, the first that is free."""
    stem = Path(recipe).stem.replace(":", "-")
    n = 1
    while (path := Path("runs") / f"{stem}-{n}").exists():
        n += 1
    return path
