"""How much of the machine each recipe's training uses.

    python benchmarks/throughput.py [RECIPE ...] [--sizes 32] [--seconds 8] [--json]
    python benchmarks/throughput.py dcgan --profile            # and where a turn's time goes
    python benchmarks/throughput.py dcgan --layers             # each layer by itself
    python benchmarks/throughput.py dcgan gan --plain          # beside a loop as tutorials write it
    python benchmarks/throughput.py gan --bare                 # beside a loop of the arithmetic alone
    OMP_NUM_THREADS=1 python benchmarks/throughput.py auto --set width=24
    python benchmarks/throughput.py --keep                     # all, at all sizes: docs/throughput.md
    python benchmarks/throughput.py --table                    # the page alone

One process and one run measure the convolution peak (the best GFLOP/s of forward plus
backward over plain and transposed convolutions of 64 to 512 channels, in both memory
formats), then each recipe's training through the package's own loop: loader, moving
average, records. FLOPs are those that each move needs, from the layers' shapes: a gradient
that nobody needs does not count, whether or not it was computed. Beside it stands the
time that the recipe's convolution and linear layers alone take for the same passes.

With `--keep` (SECONDS each, at SIZES, beside a plain loop) each finished (recipe, size) is a small JSON under benchmarks/results/throughput with
the hash of the code that made it, and what is there by the same code is not done again. A
recipe whose turn would take longer than LONGEST at the peak is not trained, and says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge import api, draws, recipes
from ganforge.build import build_game, build_trainer, pick_device
from ganforge.config import parse_settings
from ganforge.run import Run
from ganforge.sitting import Budget, Sitting
from ganforge.spec import Batch

DATA = "fashion-mnist-mini"
LEAST = 180
"""GFLOP/s of the peak; below it a run says nothing."""

LONGEST = 4.0
"""Seconds of a turn at the peak; longer ones are left out."""

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/throughput", ROOT / "docs/throughput.md"
SECONDS, SIZES = 4.0, (28, 32, 64, 128)
CODE = ("training/*.py", "families/*.py", "objectives/*.py", "data/dataset.py", "data/shuffle.py",
        "data/augment.py", "data/degrade.py", "draws.py", "build.py", "sitting.py",
        "recipes/_restoring.py")  # fmt: skip

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


def timed(f: Callable[[], object], repeats: int = 7) -> float:
    """Median seconds of a call."""
    f()
    f()
    out = []
    for _ in range(repeats):
        t = time.perf_counter()
        f()
        out.append(time.perf_counter() - t)
    return median(out)


def convolution_peak(batch: int = 64) -> float:
    """The best GFLOP/s of forward plus backward of any of these convolutions."""
    best = 0.0
    for channels, side in ((64, 32), (128, 16), (256, 16), (256, 8), (512, 8)):
        for form in (torch.channels_last, torch.contiguous_format):
            for transposed in (False, True):
                x = torch.randn(batch, channels, side, side).to(memory_format=form)
                w = torch.randn(channels, channels, 3, 3).mul(0.02).to(memory_format=form)
                x.requires_grad_()
                w.requires_grad_()
                go = torch.ones_like(x)
                op = F.conv_transpose2d if transposed else F.conv2d

                def both(op=op, x=x, w=w, go=go) -> object:  # type: ignore[no-untyped-def]
                    return torch.autograd.grad(op(x, w, padding=1), (x, w), go)

                flops = 3 * 2 * batch * side * side * channels * channels * 9
                best = max(best, flops / timed(both) / 1e9)
    return best


# -- what a move needs ----------------------------------------------------------------------
@dataclass
class Layer:
    """One convolution or linear layer as a pass met it."""

    module: nn.Module
    x: Tensor
    y: Tensor
    flops: float  # of its forward for the whole batch


def layers_of(net: nn.Module, *inputs: Tensor | None) -> list[Layer]:
    """The layers that a forward of the net goes through, in order."""
    found: list[Layer] = []

    def met(module: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        x, w = args[0], module.weight
        if isinstance(module, nn.Linear):
            flops = 2 * x.numel() * w.shape[0]
        elif "Transpose" in type(module).__name__:
            flops = 2 * x.numel() * w[0].numel()
        else:
            flops = 2 * y.numel() * w[0].numel()
        found.append(Layer(module, x.detach(), y.detach(), flops))

    hooks = [m.register_forward_hook(met) for m in net.modules() if isinstance(m, LAYERS)]
    with torch.no_grad():
        net(*inputs)
    for h in hooks:
        h.remove()
    return found


@dataclass(frozen=True)
class Pass:
    """One network's part of a move: how many forwards, and which gradients of each.

    `penalised` counts forwards whose gradient in the input is differentiated again: once
    more through every layer, and for that, two more (the piecewise linear activations have
    no second derivative)."""

    net: str
    forwards: int = 1
    weights: bool = False
    inputs: str = "none"  # none | inner (not into the sample) | all
    penalised: int = 0

    def units(self, layers: list[Layer]) -> list[tuple[Layer, int, int, int]]:
        """(layer, forwards, weight gradients, input gradients) of each layer."""
        out = []
        for i, layer in enumerate(layers):
            f = self.forwards
            w = self.forwards if self.weights else 0
            g = self.forwards if self.inputs == "all" or (self.inputs == "inner" and i) else 0
            p = self.penalised
            out.append((layer, f + p, w + p, g + p))
        return out


D_MOVE = (Pass("G"), Pass("D", 2, True, "inner"))
G_MOVE = (Pass("G", 1, True, "inner"), Pass("D", 1, False, "all"))
ONE_MOVE = (Pass("E", 1, True, "inner"), Pass("G", 1, True, "all"))
# Games whose moves need more than two forwards of D and one of G. A penalty at a point of
# its own costs a forward there too.
NEEDS: dict[str, dict[str, tuple[Pass, ...]]] = {
    "wgan-gp": {"D": (Pass("G"), Pass("D", 2, True, "inner"), Pass("D", 1, False, "none", 1))},
    "dragan": {"D": (Pass("G"), Pass("D", 2, True, "inner"), Pass("D", 1, False, "none", 1))},
    "rpgan": {
        "D": (Pass("G"), Pass("D", 2, True, "inner", 2)),
        "G": (Pass("G", 1, True, "inner"), Pass("D", 1, False, "all"), Pass("D")),
    },
    "cyclegan": {
        "D": (Pass("G"), Pass("F"), Pass("D", 2, True, "inner"), Pass("E", 2, True, "inner")),
        "G": (
            *(Pass(n, 2, True, "inner") for n in "GF"), *(Pass(n, 1, True, "all") for n in "GF"),
            *(Pass(n, 1, False, "all") for n in "DE"),
        ),
    },
    # The passes through half of G for its maps, and H, are left out: a little is missing.
    "cut": {"G": (Pass("G", 2, True, "inner"), Pass("D", 1, False, "all"))},
}  # fmt: skip


def alone(units: list[tuple[Layer, int, int, int]]) -> float:
    """Seconds that the layers take by themselves for these passes."""
    total = 0.0
    for layer, f, w, g in units:
        m, x = layer.module, layer.x.clone()
        weight = m.weight.detach().clone().requires_grad_()  # type: ignore[union-attr]
        go = torch.ones_like(layer.y)
        total += f * timed(lambda m=m, x=x: _forward(m, x, None), 3)
        if w:
            y = _forward(m, x, weight)
            total += w * timed(
                lambda y=y, a=weight, go=go: torch.autograd.grad(y, a, go, retain_graph=True), 3
            )
        if g:
            x.requires_grad_()
            y = _forward(m, x, None)
            total += g * timed(
                lambda y=y, a=x, go=go: torch.autograd.grad(y, a, go, retain_graph=True), 3
            )
    return total


def _forward(m: nn.Module, x: Tensor, weight: Tensor | None) -> Tensor:
    w = m.weight.detach() if weight is None else weight  # type: ignore[union-attr]
    if isinstance(m, nn.Linear):
        return F.linear(x, w)
    if "Transpose" in type(m).__name__:
        op = F.conv_transpose1d if x.dim() == 3 else F.conv_transpose2d
        return op(x, w, None, m.stride, m.padding, m.output_padding, m.groups)  # type: ignore[arg-type]
    op = F.conv1d if x.dim() == 3 else F.conv2d
    return op(x, w, None, m.stride, m.padding, m.dilation, m.groups)  # type: ignore[arg-type]


def layer_table(game, batch: int, peak: float) -> list[dict[str, Any]]:  # type: ignore[no-untyped-def]
    """Each layer with its forward pass, its gradient in the input and in the weight: the
    milliseconds at the peak, by PyTorch's own operator, and as the package computes it."""
    rows = []
    for net, layers in traced(game, batch).items():
        for layer in layers:
            m, x = layer.module, layer.x.clone().requires_grad_()
            weight = m.weight.detach().clone().requires_grad_()  # type: ignore[union-attr]
            go = torch.ones_like(layer.y)
            ours = _plain(m)
            ways = {
                "torch": lambda x, w, m=m: _forward(m, x, w),
                "ours": lambda x, w, m=ours: torch.func.functional_call(m, {"weight": w}, (x,)),
            }
            shapes = f"{tuple(layer.x.shape)} to {tuple(layer.y.shape)}"
            row: dict[str, Any] = {"layer": f"{net}: {type(ours).__name__} {shapes}"}
            row["at the peak"] = round(1e3 * layer.flops / peak / 1e9, 2)
            for name, f in ways.items():
                plain, bare = x.detach(), weight.detach()
                with torch.no_grad():
                    row[f"forward, {name}"] = timed(lambda f=f, a=plain, w=bare: f(a, w))
                for what, a, w in (("input", x, bare), ("weight", plain, weight)):
                    y, by = f(a, w), x if what == "input" else weight
                    row[f"to {what}, {name}"] = timed(
                        lambda y=y, by=by, go=go: torch.autograd.grad(y, by, go, retain_graph=True)
                    )
            rows.append({k: round(v * 1e3, 2) if "," in k else v for k, v in row.items()})
    return rows


def _plain(m: Any) -> nn.Module:
    """A layer of the same kind and shape, without bias and without what is computed of its weight."""
    kind = nn.utils.parametrize.type_before_parametrizations(m)
    if issubclass(kind, nn.Linear):
        return kind(m.in_features, m.out_features, bias=False).requires_grad_(False)
    more = {"output_padding": m.output_padding} if "Transpose" in kind.__name__ else {}
    shape = (m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding)
    return kind(*shape, groups=m.groups, bias=False, **more).requires_grad_(False)


def traced(game, batch: int) -> dict[str, list[Layer]]:  # type: ignore[no-untyped-def]
    """The layers that a forward of each of the game's networks goes through."""
    shape, spec, objective = game.spec.shape, game.spec, game.objective
    label = torch.zeros(batch, dtype=torch.int64) if spec.classes else None
    x = torch.randn(batch, *shape).clamp(-1, 1)
    if x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    z = None
    if objective.latent is not None:
        with draws.keyed(0, "bench", torch.arange(batch)):
            z = objective.latent.draw(batch)
    given: dict[str, tuple[Tensor | None, ...]] = {"G": (z, label), "D": (x, label), "E": (x, None)}
    if spec.source is not None:
        source = torch.randn(batch, *spec.source).clamp(-1, 1)
        source = source.to(memory_format=torch.channels_last)
        pair = torch.cat([x, source], 1) if game.config.pairs else x
        given = {"G": (source,), "F": (x,), "D": (pair,), "E": (source,)}
    return {name: layers_of(net, *given[name]) for name, net in game.nets.items() if name in given}


def moves(game) -> list[tuple[str, float, tuple[Pass, ...]]]:  # type: ignore[no-untyped-def]
    """(player, moves in a turn, what each of them passes through)."""
    table = NEEDS.get(game.config.objective, {})
    out = []
    for player in game.objective.players():
        default = D_MOVE if player.name == "D" else G_MOVE if "D" in game.nets else ONE_MOVE
        out.append((player.name, player.steps / player.every, table.get(player.name, default)))
    return out


def least_flops(game: Any, batch: int) -> float:
    """FLOPs of one turn, found with two samples."""
    seen = traced(game, 2)
    return (
        batch
        / 2
        * sum(
            times * sum(u.flops * (f + w + g) for u, f, w, g in p.units(seen[p.net]))
            for _, times, passes in moves(game)
            for p in passes
        )
    )


def needs(game, batch: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """(FLOPs, seconds of the layers alone) of one turn."""
    seen = traced(game, batch)
    flops = seconds = 0.0
    for _, times, passes in moves(game):
        for p in passes:
            units = p.units(seen[p.net])
            flops += times * sum(u.flops * (f + w + g) for u, f, w, g in units)
            seconds += times * alone(units)
    return flops, seconds


# -- a recipe -------------------------------------------------------------------------------
def hears(name: str) -> bool:
    """Whether a recipe is for sound."""
    r = recipes.recipe(name)
    return r.family == "wavegan" or "view" in r.settings


def noise(folder: str) -> str:
    """A file of 256 sounds of a second: for its arithmetic, any sound does."""
    levels = np.random.default_rng(0).integers(-9000, 9000, (256, 1, 16_384)).astype(np.int16)
    np.save(path := f"{folder}/sounds.npy", levels)
    return path


def fitting(name: str, source: str, size: int | None) -> dict[str, object]:
    """How a source is opened for a recipe: those that translate get it as their inputs too,
    and what warms up is measured when the game has begun."""
    settings = recipes.recipe(name).settings
    if hears(name):
        return {"layout": "NCT"}
    found: dict[str, object] = {} if size is None else {"size": size}
    found |= {"inputs": source} if "paired" in settings else {}
    found |= {"channels": 3} if settings.get("degrade") == "grey" else {}
    return found | ({"warmup": 0} if "warmup" in settings else {})


def measure(
    name: str, source: str, size: int | None, seconds: float, peak: float,
    settings: dict[str, Any], profiled: bool = False, layered: bool = False,
) -> dict:  # fmt: skip
    asked = fitting(name, source, size) | settings
    config, dataset, _ = api.plan(source, name, minutes=seconds / 60, **asked)
    game = build_game(config, device=pick_device(config.device))
    least = least_flops(game, config.batch_size) / peak / 1e9
    if least > LONGEST:
        return about(name, game) | {"left_out": f"a turn would take {least:.0f} s at the peak"}
    flops, layers = needs(game, config.batch_size)
    each = layer_table(game, config.batch_size, peak) if layered else None
    speeds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", config.plain())
        trainer = build_trainer(game, dataset)
        trainer.turn()
        times: list[float] = []
        turn = trainer.turn

        def watched(watch: bool = False):  # type: ignore[no-untyped-def]
            times.append(time.perf_counter())
            return turn(watch)

        trainer.turn = watched  # type: ignore[method-assign]
        Sitting(run, game, trainer, Budget(minutes=seconds / 60)).sit()
        while len(times) < 3:
            trainer.turn()
        times.append(time.perf_counter())
        trainer.turn = turn  # type: ignore[method-assign]
        shares = profile(turn) if profiled else None
        gaps = np.diff(times)
        speeds = list(config.batch_size / gaps)
    per_turn = float(np.median(gaps))
    images = game.objective.players()[0].steps * config.batch_size
    return about(name, game) | {
        "images_per_s": round(images / per_turn, 1),
        "steps_per_s": round(1 / per_turn, 2),
        "gflops": round(flops / per_turn / 1e9, 1),
        "fraction_of_peak": round(flops / per_turn / 1e9 / peak, 3),
        "fraction_of_layers": round(layers / per_turn, 3),
        "turns": len(speeds),
        **({} if shares is None else {"profile": shares}),
        **({} if each is None else {"layers": each}),
    }


def about(name: str, game: Any) -> dict[str, Any]:
    size = "x".join(map(str, game.spec.shape))
    return {"name": name, "size": size, "batch_size": game.config.batch_size}


class Items(torch.utils.data.Dataset):
    """Samples one at a time, as a DataLoader asks for them."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        b = self.data.batch(np.array([i]))
        known = {"real": b.real, "label": b.label, "source": b.source}
        return {k: v[0] for k, v in known.items() if v is not None}


def plain(
    name: str, source: str, size: int | None, seconds: float, settings: dict[str, Any]
) -> float:
    """Images a second of the same networks, losses and optimisers in a loop as tutorials write it: a
    DataLoader over single samples, tensors as they come, every network's gradient in every
    move, no average, no records."""
    config, data, _ = api.plan(source, name, minutes=1, **fitting(name, source, size) | settings)
    game = build_game(config, device=torch.device("cpu"))
    nets = game.nets.to(memory_format=torch.contiguous_format).requires_grad_(True)  # type: ignore[call-overload]
    optimisers = build_trainer(game, data).optimisers
    nets.requires_grad_(True)
    loader = torch.utils.data.DataLoader(
        Items(data), config.batch_size, shuffle=True, drop_last=True
    )
    batches = iter(chain.from_iterable(repeat(loader)))
    players, drawn = game.objective.movers(), 0
    times = [time.perf_counter()]
    while times[-1] - times[0] < seconds or len(times) < 4:
        for player in (p for p in players if len(times) % p.every == 0):
            for _ in range(player.steps):
                batch = Batch(**next(batches))
                nets.zero_grad()
                index = torch.arange(drawn, drawn := drawn + config.batch_size)
                with draws.keyed(config.seed, "plain", index):
                    terms = player.loss(nets, batch)
                sum(terms.values(), torch.zeros(())).backward()
                optimisers[player.name].step()
                if player.after is not None:
                    player.after(nets, {k: v.detach() for k, v in terms.items()})
        times.append(time.perf_counter())
    return players[0].steps * config.batch_size / float(np.median(np.diff(times)[1:]))


def bare(
    name: str, source: str, size: int | None, seconds: float, settings: dict[str, Any]
) -> float:
    """Turns a second of nothing but the arithmetic: samples and latents that were drawn before,
    the package's networks, losses, pruned gradients and optimisers; no order of samples, no keyed draws, no
    average, no records."""
    config, data, _ = api.plan(source, name, minutes=1, **fitting(name, source, size) | settings)
    game = build_game(config, device=torch.device("cpu"))
    trainer = build_trainer(game, data)
    n, each = len(data) // config.batch_size, config.batch_size
    batches = [data.batch(np.arange(i * each, (i + 1) * each)) for i in range(min(n, 200))]
    latents = [torch.randn(config.batch_size, game.objective.latent.width) for _ in batches]
    owned = {
        p.name: [q for n in p.nets for q in game.nets[n].parameters()] for p in trainer.players
    }
    times, drawn = [time.perf_counter()], 0
    while times[-1] - times[0] < seconds or len(times) < 4:
        for player in trainer.players:
            for _ in range(player.steps):
                b = batches[drawn % len(batches)]
                batch = Batch(b.real, b.label, b.source)
                batch.memo["latents"] = latents[drawn % len(batches)]
                drawn += 1
                for q in owned[player.name]:
                    q.requires_grad_(True)
                loss = sum(player.loss(game.nets, batch).values(), torch.zeros(()))
                torch.autograd.backward(loss, inputs=owned[player.name])
                trainer.optimisers[player.name].step()
                for q in owned[player.name]:
                    q.grad = None
                    q.requires_grad_(False)
        times.append(time.perf_counter())
    return 1 / float(np.median(np.diff(times)[1:]))


KINDS = {
    "convolutions (oneDNN)": r"convolution",
    "matrix products": r"::(addmm|mm|bmm|matmul|linear)\b",
    "batch norm": r"batch_norm",
    "activations": r"relu|tanh|sigmoid|softplus",
    "the optimiser": r"adam|rmsprop|sgd",
    "copies, sums and columns": r"copy_|clone|contiguous|col2im|im2col|::(add|sum|cat|fill|zero)_?\b|resize",
}
"""What operators are for, by their names; the first that fits counts."""


def profile(turn: Callable[[], object], turns: int = 20) -> dict[str, float]:
    """Shares of the operators' own time over some turns, by PyTorch's profiler; less than 1 in all."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        for _ in range(turns):
            turn()
    own = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
    whole, found = sum(own.values()), dict.fromkeys([*KINDS, "the rest"], 0.0)
    for name, spent in own.items():
        kind = next((k for k, p in KINDS.items() if re.search(p, name.lower())), "the rest")
        found[kind] += spent / whole
    return {k: round(v, 3) for k, v in found.items()}


def first_step(
    name: str, source: str, size: int | None, settings: dict[str, Any]
) -> dict[str, float]:
    """Of a fresh process: seconds from its imports done to its first step done, data packed, and
    the most memory (MiB) that it held until the second was done."""
    code = (
        "import re, time, torch, ganforge.api as api, ganforge.build as b, ganforge.sitting;"
        "t = time.perf_counter();"
        f"c, d, _ = api.plan({source!r}, {name!r}, **{fitting(name, source, size) | settings!r});"
        "trainer = b.build_trainer(b.build_game(c, device=b.pick_device(c.device)), d);"
        "trainer.turn();"
        "seconds = time.perf_counter() - t;"
        "trainer.turn();"
        # Not getrusage's, which begins with what the process that started this one had.
        "print(seconds, int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, memory = map(float, out.stdout.strip().splitlines()[-1].split())
    return {"first_step_s": round(seconds, 2), "peak_memory_mib": round(memory)}


def row(name: str, data: str, size: int | None, peak: float, args: argparse.Namespace) -> dict:
    """All that is measured of a recipe at a size."""
    settings = parse_settings(args.set)
    found = measure(name, data, size, args.seconds, peak, settings, args.profile, args.layers)
    if "left_out" in found:
        return found
    found |= first_step(name, data, size, settings)
    if args.plain:
        slow = plain(name, data, size, args.seconds, settings)
        found |= {
            "plain_images_per_s": round(slow, 1),
            "times_plain": round(found["images_per_s"] / slow, 2),
        }
    if args.bare:
        steps = bare(name, data, size, args.seconds, settings)
        found |= {
            "bare_steps_per_s": round(steps, 2),
            "of_bare": round(found["steps_per_s"] / steps, 3),
        }
    return found


# -- the page -------------------------------------------------------------------------------
def code_hash(name: str) -> str:
    """Of what a recipe's speed depends on."""
    here = ROOT / "src" / "ganforge"
    own = f"recipes/{name.replace('-', '_')}.py"
    paths = [p for pattern in (*CODE, own) for p in sorted(here.glob(pattern))]
    return hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()[:12]


def kept(name: str, size: int | None) -> Path:
    return RESULTS / f"{name}-{'sound' if size is None else size}.json"


def page() -> str:
    every = [json.loads(p.read_text()) for p in sorted(RESULTS.glob("*.json"))]
    every.sort(key=lambda r: (r["name"], [int(n) for n in r["size"].split("x")]))
    peaks = sorted(r["peak_gflops"] for r in every)
    words = f"""Made by `python benchmarks/throughput.py --keep`; not
    edited by hand. Every recipe and task of pictures (none of sound yet) at its own width and batch, trained through the package's own loop
    (loader, moving average and records included) on two cores, beside the convolution peak measured just before it
    ({peaks[0]:.0f} to {peaks[-1]:.0f} GFLOP/s). FLOPs are what each move needs, from the layers' shapes. "Layers" is the time that the
    convolution and linear layers take by themselves for the same passes, as a share of the turn: above 1 where
    the package computes them faster than PyTorch's own operators. "Plain" is a loop as tutorials write it
    around the same networks, losses and optimisers: a DataLoader over single samples, every network's gradient in every move,
    no average, no records. The marks, of convolutional recipes at 32 pixels: dcgan 0.70 of the peak, the others 0.85 of
    their layers' time. Seconds vary with what else the host does; compare within a row."""
    out = ["# Throughput", "", " ".join(words.split()), "",
           "| recipe | shape | batch | images/s | of the peak | layers | times plain | MiB | first step, s |",
           "| --- " * 9 + "|"]  # fmt: skip
    for r in every:
        start = f"| {r['name']} | {r['size']} | {r['batch_size']} |"
        if "left_out" in r:
            out.append(f"{start} {r['left_out']} | | | | | |")
            continue
        out.append(
            f"{start} {r['images_per_s']:,.4g} | {r['fraction_of_peak']:.2f} | {r['fraction_of_layers']:.2f} | "
            f"{r['times_plain']:.2f} | {r['peak_memory_mib']:,} | {r['first_step_s']:.1f} |"
        )
    return "\n".join([*out, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--sizes", type=int, nargs="+", help="of pictures; 32 if not given")
    parser.add_argument("--seconds", type=float, help="of each; 8 if not given")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--profile", action="store_true", help="where a turn's time goes")
    parser.add_argument(
        "--layers", action="store_true", help="milliseconds of each layer by itself"
    )
    parser.add_argument("--plain", action="store_true", help="beside a plain loop")
    parser.add_argument("--bare", action="store_true", help="beside a loop of the arithmetic alone")
    parser.add_argument("--keep", action="store_true", help="keep what is found, and make the page")
    parser.add_argument("--table", action="store_true", help="only the page")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.table:
        PAGE.write_text(page())
        return
    if args.keep and (args.set or args.seconds or args.data != DATA):
        parser.error("--keep is for recipes as they are: no --set, --seconds or --data")
    args.plain |= args.keep
    args.seconds = args.seconds or (SECONDS if args.keep else 8.0)
    args.sizes = args.sizes or (SIZES if args.keep else (32,))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    peak = peak_now()
    first, rows = peak, []
    folder = tempfile.TemporaryDirectory()
    sounds = noise(folder.name)
    names = args.recipes or recipes.names()
    cases = [(n, s) for s in args.sizes for n in names if not hears(n)]
    for name, size in [*cases, *((n, None) for n in names if hears(n))]:
        path, mark = kept(name, size), code_hash(name)
        if args.keep:
            if path.exists() and json.loads(path.read_text())["code"] == mark:
                continue
            if (peak := peak_now()) < LEAST:
                continue
        found = row(name, sounds if size is None else args.data, size, peak, args)
        rows.append(found)
        for layer in found.get("layers", ()):
            print("  ".join(f"{k} {v}" for k, v in layer.items()), file=sys.stderr)
        said = {k: v for k, v in found.items() if k != "layers"}
        print("  ".join(f"{k} {v}" for k, v in said.items()), file=sys.stderr, flush=True)
        if args.keep:
            RESULTS.mkdir(parents=True, exist_ok=True)
            kind = {"code": mark, "peak_gflops": round(peak, 1), "seconds": args.seconds}
            path.write_text(json.dumps(found | kind, indent=1) + "\n")
    if args.keep and any(RESULTS.glob("*.json")):
        PAGE.write_text(page())
    # The machine is shared: the peak again, so that a change shows.
    again = convolution_peak()
    print(f"convolution peak after {again:.0f} GFLOP/s", file=sys.stderr)
    if args.json:
        print(
            json.dumps(
                {
                    "peak_gflops": round(first, 1),
                    "peak_after_gflops": round(again, 1),
                    "void": first < LEAST,
                    "recipes": [r for r in rows if "left_out" not in r],
                    "left_out": [r for r in rows if "left_out" in r],
                }
            )
        )


def peak_now() -> float:
    """The convolution peak, said; and that it voids what is measured, where it does."""
    peak = convolution_peak()
    print(f"convolution peak {peak:.0f} GFLOP/s", file=sys.stderr)
    if peak < LEAST:
        print(
            f"warning: a peak under {LEAST} GFLOP/s voids this run: the machine is busy",
            file=sys.stderr,
        )
    return peak


if __name__ == "__main__":
    main()
