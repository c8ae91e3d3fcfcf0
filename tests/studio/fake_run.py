"""Synthetic run folders: what a training would have written, without the training.

python tests/studio/fake_run.py FOLDER      # a folder of runs in every state
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ganforge.run import Run, write_whole

SENTENCES = {
    "healthy": ("D still learns from G and samples vary.", "Let it run."),
    "collapse": (
        "Samples are alike: 7 of 10 classes are gone.",
        "Add R1 and R2 penalties (--add r1=1 --add r2=1), or use recipe r3gan.",
    ),
    "d-won": (
        "D tells all forgeries; G gets no gradient.",
        "Lower D's rate (--set lr.D=1e-4) or add --add r1=1.",
    ),
    "converged": ("The score has been flat within its interval for 20 scores.", "Stop now."),
    "cycling": ("G and D chase each other in circles.", "Add R1 (--add r1=1) or lower both rates."),
}


def shapes(count: int, side: int, noise: float, seed: int, kinds: int = 10) -> np.ndarray:
    """(count, side, side, 3) uint8: soft shapes, as sharp as `noise` is small."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    out = np.empty((count, side, side, 3))
    for i in range(count):
        r = np.random.default_rng(seed * 1000 + i)
        kind, hue = i % kinds, r.uniform(0, 1)
        w, h, tilt = r.uniform(0.3, 0.7), r.uniform(0.4, 0.8), r.uniform(-0.4, 0.4)
        u = x * math.cos(tilt) + y * math.sin(tilt)
        v = y * math.cos(tilt) - x * math.sin(tilt)
        p = 2 + 6 * (kind % 3)
        d = (np.abs(u / w) ** p + np.abs(v / h) ** p) ** (1 / p)
        if kind % 4 == 1:
            d = np.abs(d - 0.75) + 0.55
        if kind % 5 == 2:
            d = np.maximum(d, 1.25 - np.abs(u) * 4)
        soft = 0.06 + noise
        mask = 1 / (1 + np.exp((d - 1) / soft * 2.2))
        colour = 0.55 + 0.42 * np.cos(2 * math.pi * (hue + np.array([0, 0.33, 0.67])))
        shade = 0.75 + 0.25 * (u - v)[..., None]
        out[i] = mask[..., None] * colour * shade
        out[i] += r.normal(0, 0.25 * noise, (side, side, 3))
    return (out.clip(0, 1) * 255).astype(np.uint8)


def grid(pictures: np.ndarray, columns: int = 8, pad: int = 2) -> bytes:
    """A PNG of (N, H, W, 3) pictures side by side."""
    n, h, w, _ = pictures.shape
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + pad) + pad, columns * (w + pad) + pad, 3), 20, np.uint8)
    for i, p in enumerate(pictures):
        a, b = pad + (i // columns) * (h + pad), pad + (i % columns) * (w + pad)
        sheet[a : a + h, b : b + w] = p
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, "PNG")
    return out.getvalue()


class FakeRun:
    """A run that "trains" one record at a time.

    Args:
        path: where to make it.
        fate: the verdict that it is driven to.
        steps: its budget.
    """

    def __init__(
        self, path: Path, fate: str = "healthy", steps: int = 4000, seed: int = 0,
        recipe: str = "dcgan", side: int = 32,
    ) -> None:  # fmt: skip
        self.run = Run.create(path, self.config(recipe, steps, seed, side))
        self.fate, self.steps, self.seed, self.side = fate, steps, seed, side
        self.random = np.random.default_rng(seed)
        self.step = 0
        self.run.append(self.record(event="start", message=f"{recipe} on fashion-mnist-mini"))

    @classmethod
    def reopen(cls, path: Path, step: int, steps: int, seed: int = 0) -> FakeRun:
        """An existing run, to go on with."""
        fake = cls.__new__(cls)
        fake.run, fake.fate, fake.steps, fake.seed, fake.side = (
            Run(path),
            "healthy",
            steps,
            seed,
            32,
        )
        fake.random, fake.step = np.random.default_rng(seed), step
        return fake

    @staticmethod
    def config(recipe: str, steps: int, seed: int, side: int) -> dict:
        return {
            "format": 1, "recipe": recipe, "data": "fashion-mnist-mini",
            "spec": {"shape": [3, side, side], "classes": 0, "source": None},
            "objective": "gan", "family": "dcgan", "family_options": {"width": 64},
            "terms": {"r1": 1.0} if recipe == "r3gan" else {},
            "latent": {"size": 64, "kind": "normal"}, "batch_size": 64, "lr": 2e-4,
            "betas": [0.5, 0.999], "ema": 10000, "seed": seed, "steps": steps, "minutes": None,
            "plan": ["8,000 pictures of 28 x 28: width 64", "two cores: batch 64"],
        }  # fmt: skip

    @property
    def share(self) -> float:
        return min(1.0, self.step / self.steps)

    def record(self, **content) -> dict:
        seconds = round(self.step * 0.11, 3)
        return {"step": self.step, "images": self.step * 64, "seconds": seconds, **content}

    def tick(self, steps: int = 10, spike: float | None = None) -> None:
        """One record, `steps` further."""
        self.step += steps
        t, r = self.share, self.random
        real = 0.5 + 0.38 * math.exp(-3 * t) + r.normal(0, 0.02)
        if self.fate == "d-won":
            real = min(0.5 + 0.5 * (1 - math.exp(-9 * t)), 0.999)
        if self.fate == "cycling":
            real = 0.5 + 0.3 * math.sin(t * 60)
        real = min(max(real, 0.001), 0.999)
        fake = 1 - real + r.normal(0, 0.01)
        fake = min(max(fake, 0.001), 0.999)
        a, b = r.normal(real, 0.1, 640), r.normal(fake, 0.1, 640)
        counts = [np.histogram(v.clip(0, 1), 32, (0, 1))[0].tolist() for v in (a, b)]
        d_real, d_fake = -math.log(real), -math.log(1 - fake)
        self.run.append(
            self.record(
                loss={
                    "D/real": round(d_real, 5), "D/fake": round(d_fake, 5),
                    "G/adv": round(spike or -math.log(fake), 5),
                },
                reading={"D(x)": round(real, 5), "D(G(z))": round(fake, 5)},
                grad={
                    "D": round(0.4 + abs(r.normal(0, 0.1)), 5),
                    "G": round(0.02 if self.fate == "d-won" else 1.1 + abs(r.normal(0, 0.3)), 5),
                },
                rate={"D": 2e-4, "G": 2e-4},
                speed=round(580 + r.normal(0, 12), 1),
                histogram={"D(x)": counts[0], "D(G(z))": counts[1], "range": [0, 1]},
            )
        )  # fmt: skip

    def picture(self) -> None:
        noise = 1.6 * math.exp(-4.5 * self.share)
        kinds = 2 if self.fate == "collapse" and self.share > 0.4 else 10
        data = grid(shapes(64, self.side, noise, self.seed, kinds))
        write_whole(self.run.sample_path(self.step), data)

    def score(self) -> None:
        kid = 0.02 + 0.2 * math.exp(-5 * self.share) + self.random.normal(0, 0.002)
        if self.fate == "collapse" and self.share > 0.4:
            kid += 0.1
        cover = 0.9 - 0.8 * math.exp(-4 * self.share)
        self.run.append(
            self.record(
                score={
                    "kid": {"value": kid, "low": kid - 0.008, "high": kid + 0.008},
                    "coverage": {"value": cover, "low": cover - 0.03, "high": cover + 0.03},
                }
            )
        )

    def health(self, verdict: str | None = None) -> None:
        verdict = verdict or (self.fate if self.share > 0.4 else "healthy")
        sentence, remedy = SENTENCES[verdict]
        health = {"verdict": verdict, "sentence": sentence, "remedy": remedy, "evidence": {}}
        self.run.append(self.record(health=health))

    def play(self, until: float = 1.0, ticks: int = 300) -> FakeRun:
        """All that a training up to a share of its budget writes."""
        every = max(1, math.ceil(self.steps / ticks))
        for i in range(int(ticks * until)):
            self.tick(every)
            if i < 4 or i % 12 == 0:
                self.picture()
            if i % 20 == 19:
                self.score()
                self.health()
        self.picture()
        return self

    def stop(self, message: str = "the budget is reached") -> None:
        self.run.append(self.record(event="stop", message=message))

    @contextlib.contextmanager
    def training(self):
        """Hold the run as a training process does."""
        with open(self.run.path / ".lock", "a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self


def folder(root: Path) -> dict[str, FakeRun]:
    """A folder with runs of every kind."""
    made = {}
    plans = [
        ("dcgan-1", "healthy", "dcgan", 0.62), ("r3gan-1", "converged", "r3gan", 1.0),
        ("wgan-gp-1", "healthy", "wgan-gp", 1.0), ("gan-1", "collapse", "gan", 0.7),
        ("sweep/lsgan-lr3", "d-won", "lsgan", 0.8), ("sweep/lsgan-lr1", "cycling", "lsgan", 0.9),
    ]  # fmt: skip
    for i, (name, fate, recipe, until) in enumerate(plans):
        fake = FakeRun(root / name, fate, seed=i, recipe=recipe).play(until)
        if until == 1:
            fake.stop()
        elif fate != "healthy":
            fake.stop("stopped by request; saved")
        made[name] = fake
    return made


if __name__ == "__main__":
    folder(Path(sys.argv[1]))
