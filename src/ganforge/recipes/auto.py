"""The recipe that reads the data, the machine and the budget, and decides by stated rules."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from ganforge.recipes import Recipe

SMALL_SET = 4_000  # pictures; fewer, and D soon knows them by heart

FEW, PER_CLASS = 20, 100  # classes that go in as one-hot channels, and pictures of each

PENALTY = 5.0  # of D's squared slope at real pictures, where they are few

COMPONENTS = 32

BLOCK = 16  # channels that a processor's convolutions take at once

MAPS = 17  # times the memory of the first maps that a turn needs, about, with the penalty too


def plan(dataset: Any, settings: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Settings for these data on this machine, and the reason for each."""
    import torch

    from ganforge.families.components import FEWEST, looked_at

    fast = torch.cuda.is_available() and settings.get("device", "auto") in ("auto", "cuda")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    space = dataset.shape[1:]
    side = max(space, default=0)
    batch = 256 if fast else 32
    each = int(os.environ.get("WORLD_SIZE", "1"))
    batch = -(-batch // each) * each  # every process gets as many
    # What two cores draw in a second, measured with width 32 at 28 and at 32 pixels.
    speed = (30_000 if fast else 400 * cores) * (32 / max(1, side)) ** 2
    seen = images_of(settings, batch)
    minutes = float(settings.get("minutes") or (2.0 if seen is None else seen / speed / 60))
    if len(space) != 2:
        family, width = ("wavegan", 16) if len(space) == 1 else ("mlp", 256)
        chosen = {"family": family, "width": width, "augment": ""}
        why = [
            f"network {family}, width {width}: samples of shape {tuple(dataset.shape)} are no pictures"
        ]
        return chosen, why
    soon = not fast and minutes <= 0.5
    rate, ramp = (3e-3, 0.05) if soon else (1e-3, 0.1)
    if fast:
        width = 128
        where = "an accelerator has room for wide networks"
    else:
        width = 32 if minutes <= 10 else 48
        # Whole blocks of channels: width 24 draws fewer pictures a second than 32 on two cores.
        width = BLOCK * max(1, round(width * min(1.0, 40 / side) / BLOCK))
        where = (
            f"{minutes:.3g} min on {cores} cores at {side} px: a small network sees more pictures"
        )
    asked, free = batch, _free_memory(fast)
    while _need(batch, width, side) > free / 2 and batch > 16 * each:
        batch = max(16, batch // each // 2) * each
    if batch < asked:
        where += f"; batches of {asked} would not leave half of {free / 2**30:.1f} GiB free"
    chosen: dict[str, Any] = {
        "width": width,
        "batch_size": batch,
        "lr": rate,
        "lr.G": 2 * rate,
        "ema_ramp": ramp,
        "precision": "fp32",
    }
    why = [f"width {width}, batch {batch}: {where}"]
    why.append(
        "precision fp32: bf16 is not measured on accelerators yet; --set precision=bf16 tries it"
        if fast
        else "precision fp32: bf16 took longer on the processors where it was measured"
    )
    passes = (minutes * 60 * speed if seen is None else seen) / len(dataset)
    seen_often = passes > 100
    if seen_often:
        chosen["augment"] = "color,translation,cutout"
    few = len(dataset) < SMALL_SET
    game = settings.get("objective", "gan")
    if few and game == "gan" and not _slope(settings.get("terms", {})):
        chosen["terms"] = {"r1": PENALTY}
        why.append(
            f"D's slope at real pictures is penalised (--add r1={PENALTY:g}): fewer than {SMALL_SET} "
            "are soon known by heart; --add r1=0 takes it away"
        )
    if _alone(settings.get("objective")):
        why.append("no augmentation: this game has no D")
    elif seen_often and "augment" in settings and not settings["augment"]:
        why.append(
            f"no augmentation, as you say, though pictures are seen about {passes:.0f} times"
        )
    elif seen_often and ({"augment", "augment_p"} & settings.keys() or not isinstance(game, str)):
        why.append(
            f"D sees augmented pictures: {len(dataset)} would be seen about {passes:.0f} times each"
        )
    elif seen_often:
        chosen["augment_target"] = 0.6
        why.append(
            f"D sees augmented pictures as soon as it knows its own too well: {len(dataset)} would be "
            f"seen about {passes:.0f} times each"
        )
    else:
        why.append(f"no augmentation: {len(dataset)} pictures, seen about {passes:.0f} times each")
    names = getattr(dataset, "classes", [])
    yours = bool({"conditioning", "objective", "family"} & settings.keys())
    fewest = _fewest(dataset) if 1 < len(names) <= FEW and not yours else None
    told = fewest is not None and fewest >= PER_CLASS
    if told:
        chosen["conditioning"] = "concat"
        why.append(
            f"both networks are told the class: {len(names)} classes of {fewest} pictures or more; "
            "sample --label makes the one you name"
        )
    elif len(names) > 1 and not yours:
        had = "" if fewest is None else f", one of only {fewest} pictures"
        why.append(
            f"no class is told: {len(names)} classes{had}; it takes at most {FEW} of {PER_CLASS} "
            "pictures or more, counted on this machine; --set conditioning=concat tells them"
        )
    groups = len(names) if told else 1
    each_seen = looked_at(tuple(dataset.shape), len(dataset)) // groups  # few of large pictures
    if (
        soon
        and not yours
        and (told or few)
        and each_seen >= FEWEST * COMPONENTS
        and not {"latent.kind", "latent.size"} & settings.keys()
    ):
        chosen["components"] = COMPONENTS
        whose = "each class's" if told else "the pictures'"
        why.append(
            f"G begins with {whose} mean and {COMPONENTS} principal "
            f"components: {minutes * 60:.0f} s are few to learn from nothing; longer trainings do "
            "better without"
        )
    tried = f"tuned on Fashion-MNIST after {15 if soon else 30} s"
    why.append(
        f"rate {rate:g} for D, twice that for G, the average's half-life at most {ramp:.0%} of the "
        f"images seen: {tried}"
    )
    instead = [k for k in chosen if k in settings and k != "terms"]  # terms join each other
    if instead:
        why.append(f"yours, in place of what is said above: {', '.join(instead)}")
    return chosen, why


def _slope(terms: Mapping[str, float]) -> bool:
    """Whether what was asked for is about D's slope already."""
    from ganforge.objectives.terms import TERMS

    about = (name for name, weight in terms.items() if weight or name == "r1")
    return any(getattr(TERMS.get(name), "per_sample", False) for name in about)


def _need(batch: int, width: int, side: int) -> int:
    """Bytes of a turn, about."""
    return MAPS * 4 * batch * width * (side // 2) ** 2


def _free_memory(fast: bool) -> float:
    """Bytes; infinite where it cannot be known."""
    import torch

    if fast:
        return float(torch.cuda.mem_get_info()[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _alone(objective: Any) -> bool:
    """Whether a game that was asked for has no D."""
    from ganforge.objectives import objective_class

    if objective is None:
        return False
    return bool((objective_class(objective) if isinstance(objective, str) else objective).alone)


def images_of(settings: dict[str, Any], batch: int) -> float | None:
    """Real images that a budget of images or steps allows; None where there is no such budget."""
    allowed = []
    if settings.get("images"):
        allowed.append(float(settings["images"]))
    if settings.get("steps"):
        allowed.append(float(settings["steps"]) * float(settings.get("batch_size") or batch))
    return min(allowed, default=None)


def _fewest(dataset: Any) -> int | None:
    """Pictures of the rarest class; None where counting would fetch every shard."""
    import numpy as np

    if not isinstance(dataset.labels, np.ndarray):
        return None
    counts, n, step = np.zeros(len(dataset.classes), np.int64), len(dataset), 1 << 16
    for start in range(0, n, step):  # in parts: a set of millions is not held
        labels = dataset.label(np.arange(start, min(start + step, n))).numpy()
        counts += np.bincount(labels[labels >= 0], minlength=len(counts))
    return int(counts.min())


recipe = Recipe(
    name="auto",
    objective="gan",
    family="dcgan",
    citation="ganforge's own choice: Goodfellow et al. 2014, arXiv 1406.2661; Radford et al. 2015, "
    "arXiv 1511.06434; averaged weights after Karras et al. 2017, arXiv 1710.10196",
    headline="A good generator soonest, with no knob to know.",
    settings={
        "latent.size": 64,
        "d_norm": None,
        "betas": (0.5, 0.99),
        "ema": 10_000.0,
    },
    plan=plan,
    about="The default. Reads the data, the machine and the budget, says what it chose and why.",
)
