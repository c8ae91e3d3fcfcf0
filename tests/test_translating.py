"""Short trainings from sources: each has to beat what costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganforge
from ganforge.api import held_out_of
from ganforge.config import load
from ganforge.data import Dataset, open_source
from ganforge.errors import UserError
from ganforge.judging.fidelity import baselines, fidelity, measures
from ganforge.run import Run
from ganforge.spec import Ask

MINI = "fashion-mnist-mini"
L1 = {"objective": "regression", "terms": {"l1": 1.0}, "warmup": 0, "lr": 1e-3, "width": 16}


def judged(run: Run, n: int = 200) -> tuple[dict[str, float], dict[str, float]]:
    """What the network reaches on held-out pictures, and the PSNR of each simple means."""
    config = load(run.config)
    data = open_source(config.data, **config.data_options)
    held_out: Any = held_out_of(config, data)
    made, damage = ganforge.load(run.path), held_out.degradation

    def batches(start: int, count: int) -> Any:
        return held_out.batch(np.arange(start, start + count))

    found, _ = fidelity(lambda s: made.make(Ask(source=s)), batches, n, masked=damage.masks)
    simple = {
        k: fidelity(f, batches, n, masked=damage.masks)[0]["psnr"].value
        for k, f in baselines(damage).items()
    }
    return {k: v.value for k, v in found.items()}, simple


@pytest.mark.parametrize(
    ("task", "settings", "images"),
    [
        ("denoise", {"depth": 2}, 3200),
        ("inpaint", {}, 4000),
        ("demosaic", {"family": "unet", "norm": "none", "residual": True}, 4000),
        ("upscale", {"depth": 2}, 2400),
    ],
)
def test_l1_beats_every_simple_means_by_a_decibel(
    tmp_path: Path, task: str, settings: dict[str, Any], images: int
) -> None:
    run = ganforge.train(MINI, task, tmp_path / "r", settings=L1 | settings, images=images)
    found, simple = judged(run)
    assert found["psnr"] >= max(simple.values()) + 1, simple
    scores = [r["score"] for r in run.records() if "score" in r]
    assert all(set(s) == {"psnr", "ssim"} for s in scores)


@pytest.mark.parametrize(
    ("task", "images", "gain"),
    [("denoise", 2400, 1.0), ("inpaint", 3600, 1.0), ("demosaic", 2400, 0.5), ("upscale", 3600, 1.0)],
)  # fmt: skip
def test_the_recipe_s_own_game_stays_ahead_of_simple_means(
    tmp_path: Path, task: str, images: int, gain: float
) -> None:
    """Warm-up and game as the recipe has them, its L1 and critic; small networks."""
    small = {"width": 16, "critic_width": 8, "lr": 1e-3, "warmup": images * 3 // 4}
    small |= {} if task == "inpaint" else {"depth": 2}
    run = ganforge.train(MINI, task, tmp_path / "r", settings=small, images=images)
    last = [r for r in run.records() if "loss" in r][-1]["loss"]
    assert {"G/adv", "G/l1", "D/fake" if task == "denoise" else "D/r2"} <= set(last)
    found, simple = judged(run)
    assert found["psnr"] >= max(simple.values()) + gain, simple


def shapes(n: int, seed: int, swapped: bool = False) -> np.ndarray:
    """(n, 16, 16, 3): discs in red and squares in blue, or the other way round."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    out = np.zeros((n, 16, 16, 3), np.uint8)
    for i in range(n):
        cy, cx, r = rng.uniform(5, 10), rng.uniform(5, 10), rng.uniform(2.5, 5)
        d = np.maximum(abs(y - cy), abs(x - cx)) if i % 2 else np.hypot(y - cy, x - cx)
        v = np.clip(r - d + 0.5, 0, 1)
        red = (i % 2 == 0) != swapped
        out[i, ..., 0], out[i, ..., 2] = v * (230 if red else 30), v * (30 if red else 230)
        out[i, ..., 1] = v * 60
    return out


def samples(levels: np.ndarray) -> Tensor:
    return torch.from_numpy(levels).movedim(-1, 1).float() / 127.5 - 1


def saved(path: Path, levels: np.ndarray) -> str:
    np.save(path, levels)
    return str(path)


def test_colour_is_known_from_the_shape(tmp_path: Path) -> None:
    data = saved(tmp_path / "x.npy", shapes(512, 1))
    settings = L1 | {"holdout": 0.2, "depth": 2}
    run = ganforge.train(data, "colorize", tmp_path / "r", settings=settings, images=3200)
    found, simple = judged(run, 90)
    assert found["psnr"] > simple["nothing"] + 3


def test_warming_up_the_generator_learns_alone_and_then_the_game_begins(tmp_path: Path) -> None:
    settings = {"width": 8, "depth": 1, "critic_width": 8, "batch_size": 8, "warmup": 400}
    settings["terms"] = {"l1": 20.0}
    run = ganforge.train(MINI, "denoise", tmp_path / "r", settings=settings, images=320)
    ticks = [r for r in run.records() if "loss" in r]
    assert all(set(r["loss"]) == {"G/l1"} for r in ticks)
    assert ganforge.load(run.path).state["images"] == 320
    before = ganforge.load(run.path, ema=False).nets
    run = ganforge.resume(run.path, images=800)
    last = [r for r in run.records() if "loss" in r][-1]
    assert set(last["loss"]) == {"D/real", "D/fake", "G/adv", "G/l1"}
    assert not torch.equal(
        next(before.parameters()), next(ganforge.load(run.path, ema=False).nets.parameters())
    )


def test_a_run_over_sources_resumes_bit_by_bit(tmp_path: Path) -> None:
    settings = {"width": 4, "depth": 1, "critic_width": 4, "batch_size": 4, "warmup": 40}
    settings["degrade"] = "noise:25+mask:boxes"
    settings["terms"] = {"l1": 20.0}
    whole = ganforge.train(MINI, "denoise", tmp_path / "a", settings=settings, steps=24)
    part = ganforge.train(MINI, "denoise", tmp_path / "b", settings=settings, steps=11)
    ganforge.resume(part.path, steps=24)
    a, b = (ganforge.load(r.path, ema=False).nets.state_dict() for r in (whole, part))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_the_cycle_s_pool_resumes_too(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a.npy", shapes(40, 1)), saved(tmp_path / "b.npy", shapes(40, 2, True))
    settings = {"width": 4, "depth": 1, "critic_width": 4, "batch_size": 4, "pool": 6}
    runs = []
    for name, steps in (("x", (9,)), ("y", (4, 9))):
        run = ganforge.train(b, "cyclegan", tmp_path / name, settings=settings, inputs=a,
                             steps=steps[0])  # fmt: skip
        for more in steps[1:]:
            run = ganforge.resume(run.path, steps=more)
        runs.append(ganforge.load(run.path, ema=False))
    one, other = (r.nets.state_dict() | r.objective.state_dict() for r in runs)
    assert int(one["held"]) == 6
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_pix2pix_draws_what_its_input_says(tmp_path: Path) -> None:
    """From where a shape is, which, to the shape: beats the mean of all pictures."""
    real, test = shapes(256, 1), shapes(64, 2)

    def outlines(x: np.ndarray) -> np.ndarray:
        return ((x.max(-1) > 100) * 255).astype(np.uint8)

    real_file = saved(tmp_path / "x.npy", real)
    inputs = saved(tmp_path / "s.npy", np.repeat(outlines(real)[..., None], 3, -1))
    settings = {"width": 8, "critic_width": 8, "batch_size": 8, "lr": 2e-3, "dropout": 0.0}
    run = ganforge.train(real_file, "pix2pix", tmp_path / "r", settings=settings, inputs=inputs,
                         images=3200)  # fmt: skip
    source = samples(np.repeat(outlines(test)[..., None], 3, -1))
    made = ganforge.load(run.path).make(Ask(source=source))
    want = samples(test)
    mean = samples(real).mean(0, keepdim=True).expand_as(want)
    assert measures(made, want)["psnr"].mean() > measures(mean, want)["psnr"].mean() + 1.5
    assert measures(made, want)["l1"].mean() < 0.7 * measures(mean, want)["l1"].mean()
    ticks = [r["loss"] for r in run.records() if "loss" in r]
    assert set(ticks[-1]) == {"D/real", "D/fake", "G/adv", "G/l1"}


@pytest.mark.parametrize(("recipe", "steps", "gain"), [("cyclegan", 80, 6), ("cut", 100, 4)])
def test_unpaired_games_find_the_other_colours(
    tmp_path: Path, recipe: str, steps: int, gain: float
) -> None:
    """All shapes are red here and blue there. Nobody says which belongs to which."""
    red, blue = shapes(256, 1)[::2], shapes(256, 2)[1::2]
    test = shapes(64, 3)[::2]
    want = test[..., [2, 1, 0]]
    settings = {"width": 8, "depth": 1, "critic_width": 8, "lr": 1e-3}
    inputs = saved(tmp_path / "red.npy", red)
    run = ganforge.train(saved(tmp_path / "blue.npy", blue), recipe, tmp_path / "r",
                         settings=settings, inputs=inputs, steps=steps)  # fmt: skip
    made = ganforge.load(run.path).make(Ask(source=samples(test)))
    nothing = measures(samples(test), samples(want))["psnr"].mean()
    assert measures(made, samples(want))["psnr"].mean() > nothing + gain


@pytest.mark.parametrize("grey_first", [True, False])
def test_sources_may_have_other_channels_than_samples(tmp_path: Path, grey_first: bool) -> None:
    """Also where held-out ones are shown and scored."""
    from ganforge.judging.protocol import Reference, score

    colour = shapes(160, 1)
    places = []
    for name, levels in (("grey", colour.max(-1)), ("colour", colour)):
        for i, picture in enumerate(levels):
            path = tmp_path / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(path)
        places.append(str(tmp_path / name))
    inputs, target = places if grey_first else places[::-1]
    small = {"width": 4, "critic_width": 4, "batch_size": 4, "holdout": 0.5, "size": 16}
    run = ganforge.train(target, "pix2pix", tmp_path / "r", settings=small, inputs=inputs, steps=2)
    made = ganforge.load(run.path)
    assert (made.spec.source, made.spec.shape)[grey_first] == (3, 16, 16)
    config = load(run.config)
    held_out: Any = held_out_of(config, None)  # type: ignore[arg-type]
    assert "psnr" in score(made, Reference(held_out), features="raw@4", n=60)["metrics"]


# -- settings -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("recipe", "settings", "said"),
    [
        ("pix2pix", {}, r"--set degrade=noise:25 or inputs=SOURCE"),
        ("cyclegan", {}, "--set inputs=SOURCE"),
        ("denoise", {"degrade": "nois"}, "did you mean 'noise'"),
        ("upscale", {"pairs": True}, "pairs=false"),
        ("denoise", {"terms": {"l1": 0}}, "warmup=0"),
        ("denoise", {"objective": "regression", "terms": {"l1": 0}}, "add one"),
        ("colorize", {"channels": 1}, "colour"),
        ("dcgan", {"degrade": "noise:25"}, "has no translator"),
        ("dcgan", {"terms": {"l1": 1.0}}, "starts from noise"),
        ("pix2pix", {"inputs": MINI, "paired": False}, "--add l1=0 --set pairs=false"),
        ("cut", {"inputs": MINI, "terms": {"charbonnier": 1.0}}, "--add charbonnier=0"),
    ],
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, recipe: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        ganforge.train(MINI, recipe, tmp_path / "r", settings=settings, steps=1, width=4)


def test_the_l1_model_s_network_begins_the_gan(tmp_path: Path) -> None:
    small = {"width": 4, "depth": 1, "critic_width": 4, "batch_size": 4, "terms": {"l1": 1.0}}
    first = ganforge.train(MINI, "denoise", tmp_path / "a", steps=3,
                           settings=small | {"objective": "regression", "warmup": 0})  # fmt: skip
    net = ganforge.load(first.path).nets["G"].state_dict()
    ganforge.train(MINI, "denoise", tmp_path / "b", start_from=first.path, steps=1,
                   settings=small | {"warmup": 0, "lr": 1e-12, "ema": 0})  # fmt: skip
    begun = ganforge.load(tmp_path / "b").nets["G"].state_dict()
    assert all(torch.allclose(net[k], begun[k], atol=1e-6) for k in net)


def test_scores_say_how_near_and_what_simple_means_reach(tmp_path: Path) -> None:
    from ganforge.judging.protocol import score

    settings = L1 | {"depth": 1, "width": 4, "batch_size": 4}
    run = ganforge.train(MINI, "denoise", tmp_path / "r", settings=settings, steps=2)
    config = load(run.config)
    held_out: Dataset | None = held_out_of(config, open_source(MINI))
    assert held_out is not None
    found = score(ganforge.load(run.path), held_out, features="raw", n=100)
    assert {"psnr", "ssim", "l1", "perceptual"} <= set(found["metrics"])
    assert set(found["baselines"]) >= {"nothing", "median"}
    assert found["protocol"]["fidelity"]["crop"] == 0
