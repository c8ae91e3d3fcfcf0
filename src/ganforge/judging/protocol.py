"""Scores with all that they depend on: `score`, and `comparable`, which says why two of them
may not stand in one column."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge import __version__
from ganforge.data import Dataset, open_source
from ganforge.data.source import parse
from ganforge.errors import UserError
from ganforge.judging import metrics as m
from ganforge.judging.features import (
    NAMES,
    Features,
    default_features,
    family_of,
    features,
    is_sound,
    raw,
)
from ganforge.judging.samples import Given, Made, Maker, Rows, Samples
from ganforge.judging.store import digest, in_chunks, remembered
from ganforge.spec import Ask

FORMAT = 1
"""Of the metrics' definitions: scores of different formats are not compared."""

METRICS = (
    "frechet", "frechet_infinity", "kid", "inception_score",
    "precision", "recall", "density", "coverage", "memorisation", "copies",
    "spectral_convergence",
)  # fmt: skip

SAMPLES = 10_000
TRAIN_SEED_OFFSET = 1

Say = Callable[[str, int, int], None]
"""Called with (what is being done, samples done, samples in all)."""


@dataclass(frozen=True)
class Reference:
    """Real samples to judge by.

    Attributes:
        held_out: what the generated samples are compared with.
        training: what the generator may have memorised, and the floor's "generated" samples;
            None where there is no second split.
    """

    held_out: Dataset
    training: Dataset | None = None

    @classmethod
    def open(cls, source: str | Path | Dataset | Reference, **options: Any) -> Reference:
        """From a source: its test split, if it has one and none was named, with the training
        split beside it.

        Raises:
            UserError: it cannot be opened.
        """
        if isinstance(source, Reference):
            return source
        if isinstance(source, Dataset):
            return cls(source)
        options = {k: v for k, v in options.items() if v is not None}
        split = parse(str(source)).split
        if split == "all":
            return cls(open_source(source, **options))
        splits: dict[str, Dataset | None] = {}
        for name in ("train", "test"):
            try:
                splits[name] = open_source(source, split=name, **options)
            except UserError:
                splits[name] = None
        chosen = split or ("test" if splits["test"] is not None else "all")
        held_out = splits.get(chosen)
        if held_out is None:
            return cls(open_source(source, split=chosen, **options))
        return cls(held_out, splits["train" if chosen == "test" else "test"])


def score(
    fake: str | Path | Maker | Tensor | np.ndarray | Samples,
    reference: str | Path | Dataset | Reference,
    *,
    features: str | Features | None = None,
    weights: str | Path | None = None,
    n: int = SAMPLES,
    metrics: Iterable[str] | None = None,
    seed: int = 0,
    truncation: float = 1.0,
    label: str | int | None = None,
    ema: bool = True,
    trained_on: str | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    say: Say | None = None,
) -> dict[str, Any]:
    """Judge generated samples against real ones.

    Args:
        fake: a folder, archive or array file; a loaded generator; or samples
            (N, *shape) in [-1, 1].
        reference: a source, its test split if it has one; see `Reference`.
        features: by name, see ganforge.judging.features; "lite" for pictures by default.
        weights: a file of the feature network's weights, where it needs one.
        n: how many samples of each kind at most.
        metrics: names from `METRICS`; all that have enough samples if None.
        seed: of the generated samples and of which real ones are used.
        truncation: of a generator's latents, in (0, 1].
        label: only this class of a conditional generator.
        ema: whether the generator's weights are the averaged ones, for the protocol.
        trained_on: feature network that the discriminator trained on; found in a generator's
            configuration.
        options: how to open the sources (size, channels, layout, range, holdout, data_root).
        say: progress.

    Returns:
        {"metrics": {NAME: {"value", "low", "high", "floor"}}, "protocol": {...}}: `low` and
        `high` bound 95 % of the draws of generated samples; `floor` is what as many real
        training samples score in their place.

    Raises:
        UserError: too few samples, sizes that differ, NaN, an empty set, missing weights, a
            metric that these features cannot give.
    """
    began = time.monotonic()
    options = dict(options or {})
    chosen = _names(metrics)
    real = Reference.open(reference, **options)
    reals = Rows(real.held_out, n, seed)
    trains = None if real.training is None else Rows(real.training, n, seed + TRAIN_SEED_OFFSET)
    fakes = _fakes(fake, n, seed, truncation, label, reals, ema, options)
    if fakes.shape != reals.shape:
        raise UserError(
            f"the samples are {_size(fakes.shape)}, the reference {_size(reals.shape)}; bring both "
            "to one size with --size, and to as many channels with --channels"
        )
    config = getattr(fake, "config", None)
    learnt = "train"
    if isinstance(config, Mapping):
        trained_on = trained_on or feature_network_in(config)
        learnt = parse(str(config.get("data", ""))).split or learnt
    if not isinstance(features, Features):
        features = features or default_features(fakes.shape, trained_on)
        features = make_features(features, real, weights=weights, device=device, say=say, seed=seed)
    judge = Judge(features, reals, trains, say)
    found, omitted = judge.measure(
        judge.embed(fakes, "generated samples"), chosen, metrics is not None
    )
    if "copies" in chosen and trains is not None:
        _attempt(found, omitted, "copies", metrics is not None, lambda: judge.copies(fakes))
    if "spectral_convergence" in chosen and (is_sound(fakes.shape) or metrics is not None):
        _attempt(
            found, omitted, "spectral_convergence", metrics is not None,
            lambda: judge.spectral_convergence(fakes),
        )  # fmt: skip
    floors = judge.floors(sorted(found), len(fakes))
    faith: dict[str, Any] = {}
    paired = len(fakes.shape) == 3 and getattr(reals.dataset, "paired", False)
    if metrics is None and isinstance(fakes, Made) and paired:
        faith = _faithful(judge, fakes, fake, chosen, say)
    return {
        "metrics": faith.get("metrics", {}) | {k: v.plain(floors.get(k)) for k, v in found.items()},
        **({"baselines": faith["baselines"]} if faith else {}),
        "protocol": {
            **({"fidelity": faith["protocol"]} if faith else {}),
            "format": FORMAT,
            "features": features.describe(),
            "reference": reals.describe(),
            "n_real": len(reals),
            "n_fake": len(fakes),
            "training": None if trains is None else {**trains.describe(), "used": len(trains)},
            "fake": fakes.describe(),
            "seed": seed,
            "truncation": truncation if isinstance(fakes, Made) else None,
            "ema": ema if isinstance(fakes, Made) else None,
            "interval": "95 % of the draws of the generated samples",
            "floor": "real training samples in place of generated ones"
            if trains is not None
            else "one half of the reference against the other",
            "omitted": omitted,
            "warnings": [*warnings(features, real, trained_on, learnt), *faith.get("warnings", [])],
            "versions": versions(),
            "seconds": round(time.monotonic() - began, 1),
        },
    }


def _faithful(
    judge: Judge, fakes: Made, generator: Any, chosen: Sequence[str], say: Say | None
) -> dict[str, Any]:
    """How near the samples are to what they should be, beside what simple means reach."""
    from ganforge.judging import fidelity as f

    data = judge.reals.dataset
    damage = getattr(data, "degradation", None)
    factor = fakes.shape[1] // data.source_shape[1]  # type: ignore[index]
    crop = factor if factor > 1 else 0
    trained_on = generator.config.get("terms") or {}
    left = (fakes.shape[0], *(side - 2 * crop for side in fakes.shape[1:]))
    distances, through, warned = f.judging_distances(left, trained_on)
    masked = damage is not None and damage.masks
    n = min(len(fakes), len(judge.reals))

    def measured(make: Callable[[Tensor], Tensor]) -> tuple[dict[str, m.Value], Tensor]:
        return f.fidelity(make, judge.reals.batch, n, crop=crop, masked=masked, distances=distances)

    values, _ = measured(lambda s: generator.make(Ask(source=s)))
    beside: dict[str, dict[str, float]] = {}
    for label, restore in (f.baselines(damage) if damage is not None else {}).items():
        if say is not None:
            say(f"baseline {label}", 0, n)
        theirs, made = measured(restore)
        row = {k: v.value for k, v in theirs.items()}
        if "frechet" in chosen and len(made) >= m.FEWEST:
            got, _ = judge.measure(judge.features(made), ["frechet"])
            row |= {k: v.value for k, v in got.items()}
        beside[label] = row
    return {
        "metrics": {k: v.plain() for k, v in values.items()},
        "baselines": beside,
        "warnings": warned,
        "protocol": {
            "crop": crop, "n": n, "size": list(fakes.shape[1:]), "levels": 256, **through,
            "luma": "Rec. 601, full range", "ssim": "Gaussian window of 11, sigma 1.5",
        },
    }  # fmt: skip


def beside(score: Mapping[str, Any]) -> tuple[list[str], dict[str, list[float | None]]]:
    """Of a score of restored samples: the metrics that simple means have too, and their values by
    who reached them, this run first. Empty for other scores."""
    simple = score.get("baselines") or {}
    known = [k for k in score["metrics"] if any(k in values for values in simple.values())]
    if not known:
        return [], {}
    ours = {"this run": {k: v["value"] for k, v in score["metrics"].items()}}
    return known, {who: [row.get(k) for k in known] for who, row in (ours | simple).items()}


def make_features(
    name: str | None,
    reference: Reference,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    say: Say | None = None,
    seed: int = 0,
) -> Features:
    """A feature network for samples like the reference's. What has to be learnt is learnt from
    its training split, or where there is none from the reference."""
    shape = tuple(reference.held_out.shape)
    return features(
        name or default_features(shape),
        shape,
        labelled=Rows(reference.training or reference.held_out, None, seed),
        held_out=None if reference.training is None else Rows(reference.held_out, None, seed),
        weights=weights,
        rate=getattr(reference.held_out, "rate", None),
        device=device,
        say=None if say is None else partial(say, "feature network"),
    )


class Judge:
    """Real samples embedded once, ready to judge many sets of generated ones.

    Args:
        features: the feature network.
        reals: the reference.
        trains: training samples, or None.
    """

    def __init__(
        self, features: Features, reals: Rows, trains: Rows | None = None, say: Say | None = None
    ) -> None:
        self.features, self.reals, self.trains, self.say = features, reals, trains, say
        if len(reals) < m.FEWEST:
            raise UserError(
                f"the reference has {len(reals)} samples; a score needs at least {m.FEWEST}"
            )
        self.real = self.embed(reals, "real samples")
        self.train = None if trains is None else self.embed(trains, "training samples")

    def embed(self, samples: Samples, what: str, network: Features | None = None) -> Tensor:
        """Features of samples, kept under their content."""
        network = network or self.features
        key = None if samples.key is None else f"{network.hash}-{samples.key}"
        say = None if self.say is None else partial(self.say, what)
        return in_chunks(lambda i, n: network(samples.at(i, n)), len(samples), key, say)

    def measure(
        self, fake: Tensor, names: Sequence[str], asked: bool = False
    ) -> tuple[dict[str, m.Value], dict[str, str]]:
        """The metrics of generated features, and why some are left out. A metric that was
        asked for and cannot be given is an error."""
        found: dict[str, m.Value] = {}
        omitted: dict[str, str] = {}
        real, train = self.real, self.train
        fid = "fid" if self.features.fid else "frechet"

        def attempt(name: str, make: Callable[[], m.Value]) -> None:
            _attempt(found, omitted, name, asked, make)

        if "frechet" in names:
            attempt(fid, lambda: m.frechet(fake, real))
        if "frechet_infinity" in names:
            attempt(f"{fid}_infinity", lambda: m.frechet_infinity(fake, real))
        if "kid" in names:
            attempt("kid", lambda: m.kid(fake, real, self.features.unit))
        if "inception_score" in names:
            name = "inception_score" if self.features.fid else "classifier_score"
            attempt(name, lambda: m.inception_score(self._probabilities(fake)))
        near = [k for k in ("precision", "recall", "density", "coverage") if k in names]
        if near:
            try:
                found |= {k: v for k, v in m.neighbourhoods(fake, real).items() if k in near}
            except m.TooFew as e:
                if asked:
                    raise
                omitted |= dict.fromkeys(near, str(e))
        if "memorisation" in names:
            attempt("memorisation", lambda: m.memorisation(fake, _have(train), real))
        return found, omitted

    def copies(self, fakes: Samples) -> m.Value:
        """Copies of training samples, by their own values over as many as there are."""
        return m.copies(self._raw(fakes, "copies"), self._raw_train())[0]

    def spectral_convergence(self, fakes: Samples) -> m.Value:
        """How far the mean spectrum of sounds is from the reference's."""
        from ganforge.judging.hearing import RATE, spectrum

        rate = getattr(self.reals.dataset, "rate", None) or RATE
        ear = spectrum(fakes.shape, rate)
        made, real = (self.embed(x, "spectra", ear) for x in (fakes, self.reals))
        return m.spectral_convergence(made, real)

    def floors(self, names: Sequence[str], n: int) -> dict[str, float]:
        """What `n` real samples score in the place of as many generated ones; kept by content."""
        parts = [self.features.hash, self.reals.key, len(self.reals), n, FORMAT]
        if self.trains is not None:
            parts += [self.trains.key, len(self.trains)]
        known = self.reals.key is not None and (self.trains is None or self.trains.key is not None)
        key = digest("floors", *parts, *names) if known else None
        return remembered(key, lambda: self._floors(names, n))

    def _floors(self, names: Sequence[str], n: int) -> dict[str, float]:
        plain = [n.replace("fid", "frechet").replace("classifier", "inception") for n in names]
        half = len(self.real) // 2
        first, second = self.real[:half], self.real[half:]
        values: dict[str, m.Value] = {}
        if self.train is not None:
            values, _ = self.measure(self.train[:n], plain)
            values.pop("memorisation", None)
            if "memorisation" in plain and half >= m.FEWEST:
                values["memorisation"] = m.memorisation(first, self.train, second)
            if "copies" in plain:
                values["copies"] = self.copies(self.reals)
            if "spectral_convergence" in plain:
                assert self.trains is not None
                values["spectral_convergence"] = self.spectral_convergence(self.trains)
        elif half >= m.FEWEST:
            halves = object.__new__(Judge)
            halves.features, halves.real, halves.train = self.features, second, None
            values, _ = halves.measure(first[:n], plain)
        return {k: v.value for k, v in values.items()}

    def _raw_train(self) -> Tensor:
        assert self.trains is not None
        everything = Rows(self.trains.dataset, 60_000, seed=0)
        return self._raw(everything, "copies")

    def _raw(self, samples: Samples, what: str) -> Tensor:
        return self.embed(samples, what, raw(samples.shape))

    def _probabilities(self, fake: Tensor) -> Tensor:
        if self.features.head is None:
            raise _NotHere(
                f"features {self.features.name!r} know no classes of these data; use --features "
                "classifier or inception"
            )
        return self.features.probabilities(fake)


class _NotHere(UserError):
    """These features, or these data, cannot give the metric."""


def _have(train: Tensor | None) -> Tensor:
    if train is None:
        raise _NotHere("memorisation needs training samples beside the reference: a source with "
                       "@train and @test, or --holdout")  # fmt: skip
    return train


def _attempt(
    found: dict[str, m.Value],
    omitted: dict[str, str],
    name: str,
    asked: bool,
    make: Callable[[], m.Value],
) -> None:
    try:
        found[name] = make()
    except (m.TooFew, _NotHere) as e:
        if asked:
            raise
        omitted[name] = str(e)


def _names(metrics: Iterable[str] | None) -> list[str]:
    if metrics is None:
        return list(METRICS)
    said = {
        "fid": "frechet",
        "fid_infinity": "frechet_infinity",
        "classifier_score": "inception_score",
    }
    chosen = [said.get(n, n) for n in metrics]
    unknown = [n for n in chosen if n not in METRICS]
    if unknown:
        raise UserError(f"metric {unknown[0]!r} is unknown; choose from {', '.join(METRICS)}")
    return chosen


def _fakes(
    fake: Any,
    n: int,
    seed: int,
    truncation: float,
    label: str | int | None,
    reals: Rows,
    ema: bool,
    options: Mapping[str, Any],
) -> Samples:
    if n < m.FEWEST:
        raise UserError(f"a score needs at least {m.FEWEST} samples; n={n} was asked for")
    if isinstance(fake, Tensor | np.ndarray):
        fakes: Samples = Given(fake, n, seed)
    elif isinstance(fake, str | Path):
        if not Path(fake).exists():
            raise UserError(f"{fake} does not exist; give a run, a folder, a .zip or a .npy file")
        fakes = Rows(open_source(fake, split="all", **{**options, "holdout": None}), n, seed)
    elif hasattr(fake, "ask"):
        fakes = Made(fake, n, seed, truncation=truncation, label=label, like=reals, ema=ema)
    else:
        fakes = fake
    if len(fakes) < m.FEWEST:
        raise UserError(
            f"there are {len(fakes)} generated samples; a score needs at least {m.FEWEST}, and "
            f"{SAMPLES:,} for the usual protocol"
        )
    return fakes


def _size(shape: tuple[int, ...]) -> str:
    channels = {1: "grey", 3: "colour"}.get(shape[0], f"{shape[0]} channels")
    return f"{'x'.join(map(str, shape[1:])) or 'vectors'} {channels}"


def warnings(
    features: Features, real: Reference, trained_on: str | None, learnt: str = "train"
) -> list[str]:
    """What a reader of the score must know.

    Args:
        trained_on: the feature network that the training looked through.
        learnt: the split that was trained on.
    """
    out = []
    if real.held_out.split in (learnt, "all") or learnt == "all":
        out.append(
            f"the reference is not held out: it is the split @{real.held_out.split}, so a "
            "generator that memorised it would score best"
        )
    if trained_on is not None and family_of(trained_on) == family_of(features.name):
        other = "classifier" if real.held_out.classes else "lite2"
        out.append(
            f"the training looked through {trained_on!r}, which also judges here: the score is "
            f"flattered; use --features {other}"
        )
    return out


def feature_network_in(config: Mapping[str, Any]) -> str | None:
    """The feature network that a run's training looked through, by its configuration: an option
    `features` or `backbone` that names one, or the perceptual term."""
    if (config.get("terms") or {}).get("perceptual"):
        return "lite"
    for part in ("objective_options", "family_options"):
        for key, value in (config.get(part) or {}).items():
            if key in ("features", "backbone") and isinstance(value, str):
                base = family_of(value)
                if base in NAMES or base.startswith("lite"):
                    return value
    return None


def versions() -> dict[str, str]:
    """Of what computes the score."""
    return {
        "ganforge": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


WHAT_MATTERS = {
    "format": "the metrics' definitions",
    "features.hash": "feature network",
    "reference.fingerprint": "reference",
    "reference.split": "reference split",
    "n_real": "real samples",
    "n_fake": "generated samples",
    "truncation": "truncation",
    "ema": "averaged weights",
    "fake.label": "class",
    "fidelity.perceptual": "perceptual distance",
    "fidelity.lpips": "LPIPS",
    "fidelity.crop": "border left out",
}


def comparable(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Why two scores may not be put into one column, one difference a line; empty if they may.

    Args:
        one, other: the `protocol` of two scores.
    """
    out = []
    for path, meaning in WHAT_MATTERS.items():
        a, b = _at(one, path), _at(other, path)
        made = [_at(p, "fake.kind") == "run" for p in (one, other)]
        if path in ("truncation", "ema", "fake.label") and None in (a, b) and not all(made):
            continue  # files do not say how they were made
        if path.startswith("fidelity.") and None in (a, b):
            continue  # one of them has no such metric
        if a != b:
            readable = path.rpartition(".")[0]
            if path.endswith((".hash", ".fingerprint")):
                names = _at(one, f"{readable}.name"), _at(other, f"{readable}.name")
                a, b = (f"{n} {h}" for n, h in zip(names, (a, b), strict=True))
            out.append(f"{meaning}: {a} against {b}")
    return out


def _at(data: Mapping[str, Any], path: str) -> Any:
    value: Any = data
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
