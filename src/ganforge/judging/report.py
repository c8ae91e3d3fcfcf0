"""report.html of a run: one file that opens with no network and says first what matters.

It reads the run folder and nothing else.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganforge.config import arguments, load
from ganforge.judging.charts import Curve, chart, short
from ganforge.judging.health import diagnose
from ganforge.judging.page import embedded, facts, film, page, section, settings, table
from ganforge.judging.protocol import beside, comparable
from ganforge.run import Run, write_whole

FRAMES = 12
"""Pictures of the samples through time."""

TITLES = {
    "healthy": ("ok", "Healthy"),
    "converged": ("ok", "Converged"),
    "collapse": ("bad", "Mode collapse"),
    "d-won": ("bad", "The discriminator has won"),
    "memorising": ("bad", "The discriminator is memorising"),
    "cycling": ("warn", "Going in circles"),
    "diverged": ("bad", "Diverged"),
    "stalled": ("warn", "Stalled"),
}

MEANING = {
    "fid": "Frechet distance of Inception features; lower is better",
    "fid_infinity": "FID extrapolated to infinitely many samples",
    "frechet": "Frechet distance of the features; lower is better; not an FID",
    "frechet_infinity": "the same, extrapolated to infinitely many samples",
    "kid": "kernel distance; lower is better; unbiased, so it can be below 0",
    "inception_score": "higher is better; it cannot see missing variety within a class",
    "classifier_score": "the Inception score's formula with a classifier of these data",
    "precision": "share of samples that look real",
    "recall": "share of real data that the generator could make",
    "density": "how densely real neighbourhoods are filled",
    "coverage": "share of real samples with a generated one nearby; higher is better",
    "memorisation": "share of samples nearer to training than to held-out data; 0.5 is none",
    "copies": "share of samples that copy a training sample",
    "psnr": "decibels, to the true picture; higher is better",
    "psnr_y": "the same of the luma alone",
    "psnr_hole": "the same within holes",
    "ssim": "structural similarity to the true picture; 1 is equal",
    "ssim_y": "the same of the luma alone",
    "l1": "mean distance to the true picture, in levels of 255",
    "perceptual": "distance to the true picture as a network sees it; lower is better",
    "lpips": "the same, as it is published, through VGG16",
}


def report(run: Run | str | Path) -> Path:
    """Write report.html into the run folder.

    Returns:
        Its path.

    Raises:
        UserError: not a run folder.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    path = run.path / "report.html"
    write_whole(path, html(run).encode())
    return path


def html(run: Run) -> str:
    """The report as one document."""
    config, records = run.config, run.records()
    verdict = diagnose(records)
    name = f"{config.get('recipe', 'run')} on {config.get('data', 'data')}"
    kind, title = TITLES[verdict["verdict"]]
    opening = (
        f'<p class="brand">ganforge</p><h1>{escape(name)}</h1>'
        f'<p class="lede">{escape(_ending(run, records))}</p>'
        + section(title, _verdict(verdict), f"verdict {kind}")
        + section("In numbers", facts(_numbers(run, config, records)))
    )
    parts = [
        opening,
        section("Samples through time", _samples(run, records)),
        section("Curves", _curves(records)),
        section("Scores", _scores(run.scores(), records)),
        section("Nearest training samples", _neighbours(run)),
        section("What happened", _events(records)),
        section("How to repeat it", _repeat(run, config)),
        section("Configuration", _configuration(config)),
    ]
    versions = config.get("ganforge")
    foot = f"Made by ganforge{f' {escape(str(versions))}' if versions else ''} from {escape(run.path.name)}."
    return page(name, "".join(parts), foot)


# -- the opening ------------------------------------------------------------------------
def _verdict(verdict: Mapping[str, Any]) -> str:
    remedy = verdict["remedy"]
    return (
        f"<p>{escape(verdict['sentence'])}</p>"
        f"<p><b>What to do:</b> {escape(remedy)}</p>" + _evidence(verdict["evidence"])
    )


NAMES = {
    "diversity": "variety of the samples, of real",
    "lost": "of the real data without samples",
    "auc": "of the samples D tells apart",
    "memory": "of the training samples D knows",
    "moved": "of the samples changed region",
}


def _evidence(evidence: Mapping[str, Any]) -> str:
    pulse = evidence.get("pulse") or {}
    pairs = [(NAMES[k], f"{pulse[k]:.0%}") for k in NAMES if pulse.get(k) is not None]
    return facts(pairs)


def _ending(run: Run, records: Sequence[Mapping[str, Any]]) -> str:
    if run.live:
        return "This training goes on; the report shows how far it has come."
    events = [r for r in records if r.get("event") == "stop"]
    return f"Ended: {events[-1]['message']}." if events else "This training has no end on record."


def _numbers(
    run: Run, config: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    if records:
        last = records[-1]
        out += [
            ("real images seen", f"{last['images']:,}"),
            ("steps", f"{last['step']:,}"),
            ("training time", _duration(last["seconds"])),
        ]
    speeds = [r["speed"] for r in records if r.get("speed")]
    if speeds:
        out.append(("images a second", short(float(np.median(speeds)))))
    scores = [r for r in records if "score" in r]
    titles = {"kid": "best KID", "coverage": "best coverage", "psnr": "best PSNR (dB)"}
    for name, better in (("kid", min), ("coverage", max), ("psnr", max)):
        known = [(r["score"][name], r["step"]) for r in scores if r["score"].get(name)]
        known = [(v, step) for v, step in known if v.get("value") is not None]
        if known:
            value, step = better(known, key=lambda pair: pair[0]["value"])
            out.append((titles[name], f"{_interval(value)} <small>step {step:,}</small>"))
    shape = (config.get("spec") or {}).get("shape")
    if shape:
        out.append(("a sample", " x ".join(map(str, shape))))
    out.append(("seed", escape(str(config.get("seed", 0)))))
    return out


# -- samples ----------------------------------------------------------------------------
def _samples(run: Run, records: Sequence[Mapping[str, Any]]) -> str:
    shots = run.samples()
    if not shots:
        return ""
    # Evenly on a logarithmic scale: most happens early.
    steps = np.array([s for s, _ in shots], float)
    marks = np.geomspace(max(steps[0], 1), max(steps[-1], 1), FRAMES)
    chosen = sorted({int(np.abs(np.log(np.maximum(steps, 1) / m)).argmin()) for m in marks})
    seen = {r["step"]: r for r in records}
    pictures = []
    for i in chosen:
        step, path = shots[i]
        record = seen.get(step)
        when = f", {record['images']:,} images, {_duration(record['seconds'])}" if record else ""
        pictures.append((embedded(path), f"step {short(step)}", f"Step {step:,}{when}"))
    shape = (run.config.get("spec") or {}).get("shape") or []
    note = "Always of the same latents; the averaged networks."
    return f'{film(pictures, pixel=len(shape) == 3)}<p class="note">{note}</p>'


def _neighbours(run: Run) -> str:
    uri = embedded(run.path / "neighbours.png", most=900, bytes_at_most=300_000)
    if not uri:
        return ""
    said = "Each row: a generated sample on the left, then the training samples nearest to it."
    return (
        f'<img class="pixel" src="{uri}" alt="{said}" style="width:min(100%,34rem)">'
        f'<p class="note">{said} A sample that equals its neighbour is a copy.</p>'
    )


def keep_neighbours(run: Run, fake: Tensor, train: Any, count: int = 8, k: int = 7) -> Path:
    """Find the training samples nearest to some generated ones, by their own values, and keep
    the picture for the report.

    Args:
        fake: (N, C, H, W) generated samples in [-1, 1].
        train: the training data, see ganforge.data.Dataset.

    Returns:
        The picture's path.
    """
    from ganforge.data.pictures import grid

    image = grid(neighbours(fake[:count], train, k), k + 1)
    path = run.path / "neighbours.png"
    image.save(path)
    return path


def neighbours(fake: Tensor, train: Any, k: int = 7, most: int = 20_000) -> Tensor:
    """(N * (k + 1), *shape): each sample, then its k nearest training samples."""
    from ganforge.judging.neighbours import Neighbours

    known = Neighbours(train, most=most)
    return known.beside(fake, known.nearest(fake, k)[1])


# -- curves -----------------------------------------------------------------------------
def _curves(records: Sequence[Mapping[str, Any]]) -> str:
    ticks = [r for r in records if "loss" in r]
    scores = [r for r in records if "score" in r]
    health = [
        {"images": r["images"], **(r["health"]["evidence"].get("pulse") or {})}
        for r in records
        if isinstance(r.get("health"), Mapping) and r["health"].get("evidence")
    ]
    seen = any(r.get("against") == "training" for r in scores)
    real = "the training data, none are held out" if seen else "held-out data"
    figures = [
        _score_chart(
            scores,
            "kid",
            "KID: distance to real data",
            f"lower is better; against {real}",
            log=True,
        ),
        _score_chart(
            scores,
            "coverage",
            "Coverage: share of real data reached",
            f"higher is better; of {real}",
        ),
        _score_chart(scores, "psnr", "PSNR, dB", f"higher is better; blur pays; of {real}"),
        _group(ticks, "reading", "What D says", "D(x) of real samples, D(G(z)) of generated ones."),
        _group(ticks, "loss", "Losses, term by term", "They do not say how good the samples are."),
        _group(ticks, "grad", "Gradient norms", "", log=True),
        chart(
            [
                Curve(NAMES[k], *_xy(health, k), colour=f"var(--c{i})", dots=len(health) < 30)
                for i, k in enumerate(("diversity", "lost", "memory"))
                if any(h.get(k) is not None for h in health)
            ],
            title="Vital signs",
            zero=True,
        ),
        chart([Curve("images a second", *_xy(ticks, "speed"))], title="Speed", zero=True),
    ]
    body = "".join(f for f in figures if f)
    return f'<div class="charts">{body}</div>' if body else ""


def _score_chart(
    scores: Sequence[Mapping[str, Any]], name: str, title: str, note: str, log: bool = False
) -> str:
    points = [(r["images"], r["score"][name]) for r in scores if r["score"].get(name)]
    points = [(x, v) for x, v in points if v.get("value") is not None]
    if not points:
        return ""
    curve = Curve(
        name.upper() if name == "kid" else name,
        [x for x, _ in points],
        [v["value"] for _, v in points],
        [v.get("low", v["value"]) for _, v in points],
        [v.get("high", v["value"]) for _, v in points],
        dots=len(points) < 60,
    )
    said = f"{note}; the band covers 95 % of the draws of the samples."
    return chart([curve], title=title, note=said, log=log)


def _group(
    ticks: Sequence[Mapping[str, Any]], key: str, title: str, note: str, log: bool = False
) -> str:
    names = list(dict.fromkeys(n for t in ticks for n in (t.get(key) or {})))
    curves = []
    for i, name in enumerate(names[:6]):
        known = [(t["images"], t[key].get(name)) for t in ticks if t.get(key)]
        colour = {"D(x)": "var(--c1)", "D(G(z))": "var(--c0)"}.get(name, f"var(--c{i})")
        curves.append(Curve(name, [x for x, _ in known], [y for _, y in known], colour=colour))  # type: ignore[misc]
    return chart(curves, title=title, note=note, log=log)


def _xy(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    known = [(r["images"], r[key]) for r in rows if r.get(key) is not None]
    return [x for x, _ in known], [y for _, y in known]


# -- scores -----------------------------------------------------------------------------
def _scores(scores: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        quick = any("score" in r for r in records)
        said = (
            "Only quick scores were taken (the curves): 2,000 samples, for use while training. "
            if quick
            else ""
        )
        return f"<p>{said}A full score: <code>ganforge score RUN --reference DATA</code></p>"
    return "".join(score_table(s) for s in scores) + _differences(scores)


def score_table(score: Mapping[str, Any]) -> str:
    """A score's metrics with intervals and floors, and its protocol."""
    rows = [
        (
            f"{escape(name.replace('_', ' '))}<br><small>{MEANING.get(name, '')}</small>",
            _number(v.get("value")),
            f"{_number(v.get('low'))} – {_number(v.get('high'))}",
            _number(v.get("floor")),
        )
        for name, v in score["metrics"].items()
    ]
    p = score["protocol"]
    fake, reference, network = (p.get(k) or {} for k in ("fake", "reference", "features"))
    step = f", step {fake['step']:,}" if fake.get("step") is not None else ""
    head = (
        f"{escape(str(network.get('name')))} features; {p.get('n_fake', 0):,} generated{step} against "
        f"{p.get('n_real', 0):,} of {escape(str(reference.get('name')))}@{escape(str(reference.get('split')))}"
    )
    warned = "".join(f"<li><b>{escape(w)}</b></li>" for w in p.get("warnings") or [])
    omitted = "".join(
        f"<li>no {escape(k.replace('_', ' '))}: {escape(v)}</li>"
        for k, v in (p.get("omitted") or {}).items()
    )
    said = f"<ul>{warned}{omitted}</ul>" if warned or omitted else ""
    details = {k: v for k, v in p.items() if k not in ("warnings", "omitted")}
    return (
        f"<h3>{head}</h3>"
        + table(["metric", "value", "95 % of draws", "real data reach"], rows)
        + _beside(score)
        + f"{said}<details><summary>The whole protocol</summary>"
        + table(["", ""], settings(details), numbers=False)
        + "</details>"
    )


def _beside(score: Mapping[str, Any]) -> str:
    """What simple means reach on the same damage, where it is known."""
    known, rows = beside(score)
    cells = [(escape(who), *map(_number, values)) for who, values in rows.items()]
    return table(["beside simple means", *(escape(k.replace("_", " ")) for k in known)], cells)


def _differences(scores: Sequence[Mapping[str, Any]]) -> str:
    found = [d for s in scores[1:] for d in comparable(scores[0]["protocol"], s["protocol"])]
    if not found:
        return ""
    items = "".join(f"<li>{escape(d)}</li>" for d in dict.fromkeys(found))
    return f"<p>These scores may not be compared with one another:</p><ul>{items}</ul>"


def _number(value: float | None) -> str:
    return "–" if value is None else short(value)


def _interval(value: Mapping[str, float]) -> str:
    low, high = value.get("low"), value.get("high")
    if low is None or high is None:
        return short(value["value"])
    return f"{short(value['value'])} <small>±{short((high - low) / 2)}</small>"


# -- what it was ------------------------------------------------------------------------
def _events(records: Sequence[Mapping[str, Any]]) -> str:
    rows: list[tuple[str, ...]] = []
    verdict = None
    for r in records:
        what = None
        if "event" in r:
            what = f"<b>{escape(str(r['event']))}</b> {escape(str(r.get('message', '')))}"
        elif isinstance(r.get("health"), Mapping) and r["health"].get("verdict") != verdict:
            verdict = r["health"].get("verdict")
            what = f"<b>{escape(str(verdict))}</b> {escape(str(r['health'].get('sentence', '')))}"
        if what is not None:
            rows.append((_duration(r["seconds"]), f"{r['step']:,}", what))
    if len(rows) > 40:
        rows = [*rows[:10], ("…", "", f"{len(rows) - 40} more"), *rows[-30:]]
    return table(["time", "step", ""], rows, numbers=False)


def _repeat(run: Run, config: Mapping[str, Any]) -> str:
    data = str(config.get("data", ""))
    if data.startswith("array:"):
        said = "The data were an array in memory, which is not kept here. With the same array:"
        call = f"ganforge.train(array, recipe={config.get('recipe')!r}, **settings)"
        return f"<p>{said}</p><pre><code>{escape(call)}</code></pre>"
    line = command(config)
    return (
        f"<pre><code>{escape(line)}</code></pre><p class=note>The same seed draws the same numbers; on "
        "the same machine with as many threads the result is the same. To go on from here: "
        f"<code>ganforge resume {escape(shlex.quote(str(run.path)))}</code>; for samples: "
        f"<code>ganforge sample {escape(shlex.quote(str(run.path)))}</code></p>"
    )


def command(config: Mapping[str, Any]) -> str:
    """The command that makes such a run, every setting said."""
    return shlex.join(["ganforge", *arguments(load(config))])


def _configuration(config: Mapping[str, Any]) -> str:
    plan = config.get("plan") or []
    why = "".join(f"<li>{escape(str(p))}</li>" for p in plan)
    rest = {k: v for k, v in config.items() if k != "plan"}
    return (f"<p>Why these settings:</p><ul>{why}</ul>" if why else "") + (
        "<details><summary>Every setting</summary>"
        + table(["setting", "value"], settings(rest), numbers=False)
        + "</details>"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
