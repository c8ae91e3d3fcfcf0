"""Fair comparisons: the same data, budget and protocol for every recipe, several seeds each.

Every finished training is one small JSON file with the hash of the code that made it, so a
comparison can be made in several sittings, by several processes, and continued by anyone:

    OUT/results/RECIPE-...-SEED.json and .png     what the page and the tables are made from
    OUT/comparison.html, .md, .csv
    OUT/runs/                                     trainings under way; removed when scored
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import inspect
import io
import itertools
import json
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganforge.errors import UserError
from ganforge.judging.charts import Curve, chart, short
from ganforge.judging.page import embedded, page, section, table
from ganforge.judging.protocol import comparable
from ganforge.run import Run, write_whole

FORMAT = 1
LOST = ("collapse", "diverged", "d-won")
"""Verdicts that count as a training lost."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One training of a comparison.

    Attributes:
        recipe: its name.
        data: the source.
        seed: of the networks, the order and the draws.
        minutes, images: the budget; one of them.
        settings: what `--set` takes.
        features: of the score.
        samples: of the score.
        options: how to open the data.
    """

    recipe: str
    data: str
    seed: int
    minutes: float | None = None
    images: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    features: str | None = None
    samples: int = 10_000
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """What stands in one row: the recipe and what was set."""
        changed = " ".join(f"{k}={v}" for k, v in self.settings.items())
        return f"{self.recipe} {changed}".strip()

    @property
    def name(self) -> str:
        """A file's name, the same for the same job."""
        rest = json.dumps(asdict(self), sort_keys=True)
        words = re.sub(r"[^\w.=-]+", "-", f"{self.variant}-{self.seed}").strip("-")
        return f"{words[:80]}-{hashlib.sha256(rest.encode()).hexdigest()[:8]}"


def compare(
    recipes: Sequence[str],
    data: str,
    *,
    out: str | Path,
    seeds: int = 3,
    minutes: float | None = None,
    images: int | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    features: str | None = None,
    samples: int = 10_000,
    workers: int = 1,
    ray: str | None = None,
    cut: bool = False,
    options: Mapping[str, Any] | None = None,
    say: Say = lambda text: print(text, file=sys.stderr),
) -> dict[str, Any]:
    """Train every recipe with every seed for the same budget, score all by one protocol, and
    write the tables. What was done before, by the same code, is not done again.

    Args:
        recipes: names.
        data: a source.
        out: where results and tables go.
        seeds: how many; they are 0, 1, ...
        minutes: of training each; or `images` that D sees. 4 minutes if neither is given.
        sweep: settings to vary, with their values; all combinations.
        features: of the score; by the data if None.
        workers: trainings at once, each with its share of the cores.
        ray: address of a Ray cluster ("local" to start one here).
        cut: stop trainings that are hopeless beside the others so far, by Optuna's median rule.
        say: told of each result.

    Returns:
        {"rows": [...], "results": [...], "differences": [...], "files": {...}}.

    Raises:
        UserError: an unknown recipe or setting, or a library that is not installed.
    """
    if seeds < 1 or workers < 1:
        raise UserError(f"--seeds and --workers are at least 1; {seeds} and {workers} were given")
    if minutes is None and images is None:
        minutes = 4.0
    folder = Path(out)
    for part in ("results", "runs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(
            recipe,
            data,
            seed,
            minutes,
            images,
            dict(settings),
            features,
            samples,
            dict(options or {}),
        )
        for seed in range(seeds)
        for recipe in recipes
        for settings in combinations(sweep or {})
    ]
    for job in jobs[: len(jobs) // seeds]:  # a mistake in any of them, before the first begins
        _dry(job)
    waiting = [j for j in jobs if finished(folder, j) is None]
    say(f"trainings: {len(jobs)}, done before: {len(jobs) - len(waiting)}")
    for done in _run_all(waiting, folder, workers, ray, cut):
        say(f"{done['variant']}, seed {done['seed']}: {_headline(done)}")
    results = [r for r in (finished(folder, j) for j in jobs) if r is not None]
    return write_tables(results, folder, data)


def _dry(job: Job) -> None:
    from ganforge import api

    api.plan(job.data, job.recipe, settings=job.settings, **job.options)


def combinations(sweep: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def finished(folder: Path, job: Job) -> dict[str, Any] | None:
    """The job's result, if this code made it."""
    try:
        result = json.loads((folder / "results" / f"{job.name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return result if result.get("code") == code_hash(job) else None


def code_hash(job: Job) -> str:
    """Stands for the code that decides a training's result: the trainer, the draws, the
    recipe's objective and family with the classes they build on."""
    from ganforge import draws, recipes, spec
    from ganforge.data import augment
    from ganforge.families import components, family_class
    from ganforge.objectives import adaptive, latent, objective_class
    from ganforge.objectives import terms as extra
    from ganforge.training import ema, trainer

    recipe = recipes.recipe(job.recipe)
    found: dict[str, str] = {}
    for name, lookup in (
        (job.settings.get("objective", recipe.objective), objective_class),
        (job.settings.get("family", recipe.family), family_class),
    ):
        cls = lookup(name) if isinstance(name, str) else name
        for base in cls.__mro__:
            if base.__module__.startswith("ganforge."):
                found[base.__module__] = inspect.getsource(sys.modules[base.__module__])
    for module in (draws, spec, latent, extra, adaptive, augment, ema, trainer, components):
        found[module.__name__] = inspect.getsource(module)
    if recipe.plan is not None:  # what it chooses depends on the whole of its module
        found["plan"] = inspect.getsource(inspect.getmodule(recipe.plan) or recipe.plan)
    found["settings"] = json.dumps(recipe.settings, sort_keys=True, default=str)
    text = "\0".join(f"{k}\0{found[k]}" for k in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# -- one training -----------------------------------------------------------------------
def do(job: Job, folder: Path, threads: int | None = None) -> dict[str, Any]:
    """Train, score and write the result; goes on where an interrupted one was left."""
    import torch

    from ganforge import api, recipes
    from ganforge import config as configuration
    from ganforge.data import open_source
    from ganforge.judging.health import diagnose
    from ganforge.judging.protocol import Reference, score

    if threads:
        torch.set_num_threads(threads)
    path = folder / "runs" / job.name
    code, stamp = code_hash(job), path.with_name(f"{path.name}.code")
    # What other code began is not gone on with: the result would be half of each.
    begun = (path / "config.yaml").exists() and stamp.exists() and stamp.read_text() == code
    busy = time.process_time()
    found = recipes.recipe(job.recipe)
    parts = {"objective": found.objective, "family": found.family}
    own: dict[str, Any] = {k: v for k, v in parts.items() if not isinstance(v, str)}
    if begun:
        run = api.resume(path, **own)
    else:
        shutil.rmtree(path, ignore_errors=True)
        stamp.write_text(code)
        run = api.train(
            job.data, job.recipe, path, settings=job.settings, seed=job.seed,
            minutes=job.minutes, images=job.images, **job.options,
        )  # fmt: skip
    busy = time.process_time() - busy
    assert run.outcome is not None
    if run.outcome.reason.startswith("SIG"):
        raise UserError("stopped by a signal; the same command goes on from here")
    records = run.records()
    config = configuration.load(run.config)
    dataset = open_source(config.data, **config.data_options)
    held_out = api.held_out_of(config, dataset)
    reference = Reference(dataset) if held_out is None else Reference(held_out, dataset)
    result = {
        "format": FORMAT,
        "code": code,
        "variant": job.variant,
        **asdict(job),
        "outcome": asdict(run.outcome),
        "health": diagnose(records)["verdict"],
        "step": records[-1]["step"],
        "images_seen": records[-1]["images"],
        "seconds": records[-1]["seconds"],
        "threads": torch.get_num_threads(),
        # What the machine really gave; unknown where an earlier sitting's is not counted.
        "cpu_seconds": None if begun else round(busy, 1),
        "speed": _speed(records),
        "memory_mib": round(_peak_memory() / 2**20),
        "curve": [
            [r["seconds"], r["images"], r["score"]["kid"]]
            for r in records
            if "kid" in r.get("score", {})
        ],
        "score": score(api.load(path, **own), reference, features=job.features, n=job.samples),
        "when": time.strftime("%Y-%m-%d"),
    }
    shots = run.samples()
    if shots:
        shutil.copy(shots[-1][1], folder / "results" / f"{job.name}.png")
    write_whole(folder / "results" / f"{job.name}.json", json.dumps(result, indent=1).encode())
    shutil.rmtree(path, ignore_errors=True)
    stamp.unlink(missing_ok=True)
    return result


def _do(job: Job, folder: str, threads: int | None) -> dict[str, Any]:
    """In another process: an error comes back as a result that is not kept."""
    try:
        return do(job, Path(folder), threads)
    except UserError as e:
        return {"variant": job.variant, "seed": job.seed, "error": str(e)}


def _speed(records: Sequence[Mapping[str, Any]]) -> float | None:
    speeds = [r["speed"] for r in records if r.get("speed")]
    return float(np.median(speeds)) if speeds else None


def _peak_memory() -> int:
    """Bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# -- many trainings ---------------------------------------------------------------------
class Pool(Protocol):
    """Where trainings run: handles of those under way, and their results.

    Attributes:
        room: how many it takes at once.
    """

    room: int

    def submit(self, job: Job) -> Any: ...

    def wait(self, handles: Sequence[Any], seconds: float | None) -> list[Any]:
        """Those that have ended: at least one, unless `seconds` have passed."""
        ...

    def result(self, handle: Any) -> dict[str, Any]: ...

    def close(self) -> None:
        """Stop what is under way."""
        ...


class Processes:
    """As many processes of this machine as `workers`, each with its share of the cores; a new
    one for each training, whose memory and threads go with it."""

    def __init__(self, folder: Path, workers: int) -> None:
        from multiprocessing import get_context

        self.folder, self.threads = folder, max(1, (os.cpu_count() or 1) // workers)
        self.room, self.context = workers, get_context("spawn")
        self.running: dict[Any, tuple[Any, Job]] = {}

    def submit(self, job: Job) -> Any:
        here, there = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_send, args=(there, job, str(self.folder), self.threads)
        )
        process.start()
        there.close()
        self.running[here] = (process, job)
        return here

    def wait(self, handles: Sequence[Any], seconds: float | None) -> list[Any]:
        from multiprocessing.connection import wait

        return wait(handles, seconds)

    def result(self, handle: Any) -> dict[str, Any]:
        process, job = self.running.pop(handle)
        try:
            found = handle.recv()
        except EOFError:
            found = None
        process.join()
        ended = f"its process ended with code {process.exitcode}"
        return found or {"variant": job.variant, "seed": job.seed, "error": ended}

    def close(self) -> None:
        for process, _ in self.running.values():
            process.terminate()  # it saves what it has, and the same command goes on from there
        for process, _ in self.running.values():
            process.join()


def _send(there: Any, *job: Any) -> None:
    there.send(_do(*job))


class Cluster:
    """Ray tasks, one for each training: a core each, and a GPU each where there are any.
    ganforge must be installed on the machines, and `folder` and the data be reachable."""

    def __init__(self, folder: Path, address: str) -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("--ray needs Ray; run: pip install ganforge[sweep]") from None
        try:
            ray.init(None if address == "local" else address, ignore_reinit_error=True)
        except (ConnectionError, ValueError) as e:
            why = (str(e).strip().splitlines() or ["no answer"])[0]
            raise UserError(
                f"no Ray cluster answers at {address!r} ({why}); give its address, or local"
            ) from None
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # A worker a task: torch's memory and threads go with it.
        self.remote = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=1, max_retries=0)(_do)
        self.ray, self.folder, self.room = ray, folder.resolve(), sys.maxsize

    def submit(self, job: Job) -> Any:
        return self.remote.remote(job, str(self.folder), None)

    def wait(self, handles: Sequence[Any], seconds: float | None) -> list[Any]:
        return self.ray.wait(list(handles), timeout=seconds)[0]

    def result(self, handle: Any) -> dict[str, Any]:
        return self.ray.get(handle)

    def close(self) -> None:
        self.ray.shutdown()


def _run_all(
    jobs: Sequence[Job], folder: Path, workers: int, ray: str | None, cut: bool
) -> Iterator[dict[str, Any]]:
    if not jobs:
        return
    judge = Cutter(folder) if cut else None
    pool: Pool = Processes(folder, workers) if ray is None else Cluster(folder, ray)
    ready, waiting = list(reversed(jobs)), dict[Any, Job]()
    try:
        while ready or waiting:
            while ready and len(waiting) < pool.room:
                job = ready.pop()
                waiting[pool.submit(job)] = job
            for handle in pool.wait(list(waiting), 2.0 if judge else None):
                job = waiting.pop(handle)
                if judge is not None:
                    judge.done(job)
                yield _checked(pool.result(handle))
            if judge is not None:
                judge.look(list(waiting.values()))
    finally:
        pool.close()


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    if "error" in result:
        raise UserError(f"{result['variant']}, seed {result['seed']}: {result['error']}")
    return result


class Cutter:
    """Asks a running training to stop when its quick score is worse than the median of the
    others at the same share of the budget (Optuna's MedianPruner; Golovin et al. 2017)."""

    def __init__(self, folder: Path) -> None:
        try:
            import optuna
        except ImportError:
            raise UserError("--cut needs Optuna; run: pip install ganforge[sweep]") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2, n_min_trials=2)
        self.study = optuna.create_study(direction="minimize", pruner=pruner)
        self.trials: dict[str, Any] = {}
        self.told: set[str] = set()
        self.seen: dict[str, dict[int, float]] = {}

    def look(self, jobs: Iterable[Job]) -> list[str]:
        """Read what the running trainings have recorded; the names of those told to stop."""
        stopped = []
        for job in jobs:
            run = Run(self.folder / "runs" / job.name)
            for r in run.records():
                if "kid" in r.get("score", {}):
                    self._report(job.name, _share(job, r), r["score"]["kid"]["value"])
            if job.name in self.told or job.name not in self.trials:
                continue
            if self.trials[job.name].should_prune():
                self.told.add(job.name)
                with contextlib.suppress(FileNotFoundError):  # it has just ended
                    run.request("stop")
                    stopped.append(job.name)
        return stopped

    def done(self, job: Job) -> None:
        """A training has ended: the others are measured by it."""
        if job.name in self.trials:
            seen = self.seen[job.name]
            self.study.tell(self.trials.pop(job.name), seen[max(seen)])

    def _report(self, name: str, share: int, kid: float) -> None:
        if name not in self.trials:
            self.trials[name] = self.study.ask()
        seen = self.seen.setdefault(name, {})
        if share not in seen:
            seen[share] = kid
            self.trials[name].report(kid, share)


def _share(job: Job, record: Mapping[str, Any]) -> int:
    """Tenths of the budget."""
    if job.images:
        return int(10 * record["images"] / job.images)
    return int(10 * record["seconds"] / (60 * (job.minutes or 1)))


# -- tables -----------------------------------------------------------------------------
def headline(results: Sequence[Mapping[str, Any]]) -> str:
    """The metric that decides: the FID where there is one, the Frechet distance, or KID."""
    have = [set(r["score"]["metrics"]) for r in results]
    for name in ("fid", "frechet", "kid"):
        if all(name in h for h in have):
            return name
    return "kid"


def rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each variant, the best mean first."""
    metric = headline(results) if results else "kid"
    out = []
    for variant in dict.fromkeys(r["variant"] for r in results):
        mine = [r for r in results if r["variant"] == variant]
        whole = [r for r in mine if not _cut(r)]
        values = [_value(r, metric) for r in whole]
        known = [v for v in values if v is not None]
        cover = [v for r in whole if (v := _value(r, "coverage")) is not None]
        speeds = [r["speed"] for r in mine if r["speed"]]
        out.append(
            {
                "variant": variant,
                "metric": metric,
                "seeds": len(mine),
                "mean": float(np.mean(known)) if known else None,
                "deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
                "best": min(known, default=None),
                "worst": max(known, default=None),
                "coverage": float(np.mean(cover)) if cover else None,
                "lost": sum(r["health"] in LOST for r in mine),
                "cut": len(mine) - len(whole),
                "images_per_s": float(np.median(speeds)) if speeds else None,
                "memory_mib": max(r["memory_mib"] for r in mine),
            }
        )
    return sorted(out, key=lambda r: (r["mean"] is None, r["mean"]))


def write_tables(results: Sequence[Mapping[str, Any]], folder: Path, data: str) -> dict[str, Any]:
    """comparison.html, .md and .csv from results; see `compare` for what is returned."""
    found = rows(results)
    apart = differences(results)
    texts = {
        "md": markdown(found, results, data, apart),
        "csv": as_csv(found),
        "html": html(found, results, folder, data, apart),
    }
    files = {}
    for kind, text in texts.items():
        files[kind] = str(folder / f"comparison.{kind}")
        write_whole(folder / f"comparison.{kind}", text.encode())
    return {
        "rows": found,
        "results": [_brief(r) for r in results],
        "differences": apart,
        "files": files,
    }


def differences(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What in the protocols forbids one column."""
    protocols = [r["score"]["protocol"] for r in results]
    return list(dict.fromkeys(d for p in protocols[1:] for d in comparable(protocols[0], p)))


HEADS = (
    "recipe",
    "seeds",
    "mean",
    "±",
    "best",
    "worst",
    "coverage",
    "lost",
    "cut",
    "images/s",
    "MiB",
)


def _cells(row: Mapping[str, Any]) -> list[str]:
    keys = ("mean", "deviation", "best", "worst", "coverage")
    numbers = ["–" if row[k] is None else short(row[k]) for k in keys]
    speed = "–" if row["images_per_s"] is None else short(row["images_per_s"])
    counts = [str(row[k]) for k in ("lost", "cut")]
    return [row["variant"], str(row["seeds"]), *numbers, *counts, speed, str(row["memory_mib"])]


def markdown(
    found: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    data: str,
    apart: Sequence[str],
) -> str:
    """The table for a document."""
    lines = [f"{protocol_line(results, data)}", ""]
    lines += ["| " + " | ".join(HEADS) + " |", "| --- |" + " ---: |" * (len(HEADS) - 1)]
    lines += ["| " + " | ".join(_cells(r)) + " |" for r in found]
    if apart:
        lines += ["", "These protocols differ, so the rows may not be compared:", ""]
        lines += [f"- {d}" for d in apart]
    return "\n".join(lines) + "\n"


def protocol_line(results: Sequence[Mapping[str, Any]], data: str) -> str:
    """What the numbers are, in one sentence."""
    if not results:
        return f"No results yet on {data}."
    p, job = results[0]["score"]["protocol"], results[0]
    budget = f"{job['minutes']:g} minutes" if job["minutes"] else f"{job['images']:,} images"
    name = headline(results)
    reference = p["reference"]
    return (
        f"{name} ({p['features']['name']} features, {p['n_fake']:,} samples against "
        f"{p['n_real']:,} of {reference['name']}@{reference['split']}; lower is better) after "
        f"{budget} of training; real data reach {short(_floor(results, name))}."
    )


def as_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """The table for a spreadsheet."""
    text = io.StringIO()
    keys = list(found[0]) if found else ["variant"]
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def html(
    found: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    folder: Path,
    data: str,
    apart: Sequence[str],
) -> str:
    """The comparison as one page that opens with no network."""
    lines = [[escape(c) for c in _cells(r)] for r in found]
    warned = "".join(f"<li>{escape(d)}</li>" for d in apart)
    said = (
        f"<p>These protocols differ, so the rows may not be compared:</p><ul>{warned}</ul>"
        if apart
        else ""
    )
    note = (
        "Lost: trainings that collapsed, diverged, or whose D won. Cut: stopped early as hopeless."
    )
    body = (
        f'<p class="brand">ganforge</p><h1>Comparison on {escape(data)}</h1>'
        f'<p class="lede">{escape(protocol_line(results, data))}</p>'
        + section("Result", table(HEADS, lines, best=0) + said + f'<p class="note">{note}</p>')
        + section("Quick score against time", _curves(found, results))
        + section("Samples side by side", _grids(found, results, folder))
    )
    return page(f"Comparison on {data}", body)


def _curves(found: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> str:
    """KID against seconds, the mean over seeds and their range."""
    figures = []
    order = [r["variant"] for r in found]
    for start in range(0, len(order), 6):
        curves = []
        for i, variant in enumerate(order[start : start + 6]):
            runs = [r["curve"] for r in results if r["variant"] == variant and len(r["curve"]) > 1]
            if not runs:
                continue
            begin, end = max(run[0][0] for run in runs), min(run[-1][0] for run in runs)
            if begin >= end:  # at no time did all have a score
                continue
            at = np.linspace(begin, end, 40)
            values = np.array(
                [np.interp(at, [p[0] for p in run], [p[2]["value"] for p in run]) for run in runs]
            )
            curves.append(
                Curve(variant, at.tolist(), values.mean(0).tolist(), values.min(0).tolist(),
                      values.max(0).tolist(), f"var(--c{i})")
            )  # fmt: skip
        figures.append(
            chart(curves, title="KID of 2,000 samples", x_name="s", log=True,
                  note="the mean over seeds; the band is their range")
        )  # fmt: skip
    body = "".join(figures)
    return f'<div class="charts">{body}</div>' if body else ""


def _grids(
    found: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], folder: Path
) -> str:
    """The best seed's samples of every variant."""
    out = []
    for row in found:
        mine = [r for r in results if r["variant"] == row["variant"]]
        best = min(mine, key=lambda r: _value(r, row["metric"]) or np.inf)
        uri = embedded(
            folder / "results" / f"{_job(best).name}.png", most=420, bytes_at_most=70_000
        )
        if uri:
            value = _value(best, row["metric"])
            caption = f"{row['variant']}, seed {best['seed']}: {short(value) if value else '–'}"
            out.append(
                f'<figure><img class="pixel" src="{uri}" alt="{escape(caption, True)}" '
                f'style="width:100%"><figcaption class="note">{escape(caption)}</figcaption></figure>'
            )
    return f'<div class="charts">{"".join(out)}</div>' if out else ""


def _job(result: Mapping[str, Any]) -> Job:
    return Job(**{k: result[k] for k in Job.__dataclass_fields__})


def _cut(result: Mapping[str, Any]) -> bool:
    """Stopped early as hopeless; its score is of less training, and counts in no mean."""
    return result["outcome"]["reason"] == "request"


def _value(result: Mapping[str, Any], metric: str) -> float | None:
    return (result["score"]["metrics"].get(metric) or {}).get("value")


def _floor(results: Sequence[Mapping[str, Any]], metric: str) -> float:
    floors = [r["score"]["metrics"].get(metric, {}).get("floor") for r in results]
    return float(np.mean([f for f in floors if f is not None] or [np.nan]))


def _headline(result: Mapping[str, Any]) -> str:
    metric = headline([result])
    value = _value(result, metric)
    return f"{metric} {'–' if value is None else short(value)}, {result['health']}"


def _brief(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without its curve and protocol."""
    return {k: v for k, v in result.items() if k not in ("curve", "score")} | {
        "metrics": result["score"]["metrics"]
    }
