"""A run folder as a training would have written it, without the training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from ganforge.run import Run

CONFIG = {
    "format": 1, "ganforge": "0.1.0", "recipe": "dcgan", "data": "fashion-mnist-mini",
    "data_options": {}, "spec": {"shape": [1, 28, 28], "classes": 0, "source": None},
    "objective": "gan", "objective_options": {"saturating": False}, "family": "dcgan",
    "family_options": {"width": 64}, "terms": {"r1": 1.0}, "rates": {"D": 4e-4},
    "latent": {"size": 100, "kind": "uniform", "categorical": [], "continuous": 0},
    "conditioning": "none", "batch_size": 64, "optimiser": "adam", "lr": 2e-4,
    "betas": [0.5, 0.999], "eps": 1e-8, "clip": None, "ema": 10000, "precision": "fp32",
    "seed": 3, "minutes": 4.0, "steps": None, "images": None,
    "plan": ["8,000 pictures of 28 x 28: width 64", "two cores: batches of 64"],
}  # fmt: skip


def pulse(**changes):
    """A healthy pulse, changed."""
    return {
        "diversity": 0.97, "lost": 0.04, "moved": 0.11, "drift": 0.4, "auc": 0.83, "memory": 0.52,
        **changes,
    }  # fmt: skip


def tick(step, *, d_real=0.7, d_fake=0.3, g=1.0, loss=0.6, speed=640.0):
    return {
        "loss": {"D/real": loss, "D/fake": loss * 0.9, "G/adv": 1.3},
        "reading": {"D(x)": d_real, "D(G(z))": d_fake},
        "grad": {"D": 0.5, "G": g},
        "rate": {"D": 4e-4, "G": 2e-4},
        "speed": speed,
    }


def at(step, **content):
    """A record of 64 images a step, 10 steps a second."""
    return {"step": step, "images": step * 64, "seconds": step / 10, **content}


def scored(step, kid, error=0.003, coverage=0.6):
    return at(
        step,
        score={
            "kid": {"value": kid, "low": kid - error, "high": kid + error},
            "coverage": {"value": coverage, "low": coverage - 0.02, "high": coverage + 0.02},
        },
    )


def beat(step, **changes):
    return at(step, health={"verdict": "healthy", "sentence": "", "remedy": "",
                            "evidence": {"pulse": pulse(**changes)}})  # fmt: skip


def sheet(noise: float, seed: int = 0, side: int = 28) -> Image.Image:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    out = np.zeros((8 * (side + 2), 8 * (side + 2)), np.uint8)
    for i in range(64):
        w, h, p = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8), rng.choice([1, 2, 6])
        d = (np.abs(x / w) ** p + np.abs(y / h) ** p) ** (1 / p)
        picture = 1 / (1 + np.exp((d - 1) * 12)) * (0.7 + 0.3 * x) + rng.normal(0, noise, d.shape)
        a, b = i // 8 * (side + 2), i % 8 * (side + 2)
        out[a : a + side, b : b + side] = (picture.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(out).resize((480, 480), Image.Resampling.NEAREST)


def play(path: Path, steps: int = 2400, config: dict | None = None) -> Run:
    """A healthy run of `steps`, with samples, scores and pulses."""
    run = Run.create(path, CONFIG | (config or {}))
    rng = np.random.default_rng(0)
    run.append(at(0, event="start", message="dcgan on fashion-mnist-mini"))
    for step in range(10, steps + 1, 10):
        t = step / steps
        real = 0.55 + 0.3 * math.exp(-4 * t) + rng.normal(0, 0.03)
        fake = 0.42 - 0.3 * math.exp(-4 * t) + rng.normal(0, 0.03)
        noisy = tick(step, d_real=real, d_fake=fake, g=1 + rng.normal(0, 0.2),
                     loss=0.5 + rng.normal(0, 0.06), speed=640 + rng.normal(0, 15))  # fmt: skip
        run.append(at(step, **noisy))
        if step % 60 == 0:
            sheet(1.2 * math.exp(-5 * t)).save(run.sample_path(step))
        if step % 160 == 0:
            kid = 0.02 + 0.25 * math.exp(-6 * t) + rng.normal(0, 0.002)
            run.append(scored(step, kid, coverage=0.85 - 0.7 * math.exp(-5 * t)))
        if step % 100 == 0:
            run.append(
                beat(step, diversity=1 - 0.6 * math.exp(-6 * t), lost=0.5 * math.exp(-6 * t))
            )
    run.append(at(steps, event="stop", message="the budget is reached"))
    run.set_best(steps, {"kid": {"value": 0.02}})
    sheet(0.02, 5).save(run.path / "neighbours.png")
    run.add_score(
        "lite",
        {
            "metrics": {
                "frechet": {"value": 21.3, "low": 20.9, "high": 21.7, "floor": 8.19},
                "kid": {"value": 0.0143, "low": 0.0131, "high": 0.0155, "floor": -0.00008},
                "precision": {"value": 0.78, "low": 0.77, "high": 0.79, "floor": 0.812},
                "recall": {"value": 0.61, "low": 0.6, "high": 0.62, "floor": 0.799},
                "coverage": {"value": 0.83, "low": 0.82, "high": 0.84, "floor": 0.973},
                "memorisation": {"value": 0.502, "low": 0.49, "high": 0.512, "floor": 0.505},
            },
            "protocol": {
                "format": 1, "n_real": 10000, "n_fake": 10000, "seed": 0, "truncation": 1.0, "ema": True,
                "features": {"name": "lite", "hash": "dbe605dda04c66a7", "dim": 1280},
                "reference": {"name": "fashion-mnist", "split": "test", "fingerprint": "13d7"},
                "fake": {"kind": "run", "step": steps}, "warnings": [],
                "omitted": {"classifier_score": "features 'lite' know no classes of these data"},
                "versions": {"ganforge": "0.1.0", "torch": "2.14"},
            },
        },
    )  # fmt: skip
    return run
