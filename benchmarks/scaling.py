"""How a turn's time should grow with the number of processes, and how it does here.

    python benchmarks/scaling.py             # 1, 2 and 3 processes, networks, then the page
    python benchmarks/scaling.py networks    # only what the model takes from the recipes
    python benchmarks/scaling.py here        # only the measurement
    python benchmarks/scaling.py --table     # only docs/scaling.md and its picture

One formula, `turn`, for a data centre on paper and for this machine's processes over gloo. It
adds up what a turn waits for: arithmetic (the FLOPs that each move needs, counted from layer
shapes by throughput.py) or the launching of operators, whichever is longer; reading samples;
one flat all-reduce of gradients for each move; two small ones for each batch norm; and those
of a few numbers that keep the processes together. Results lie in benchmarks/results/scaling;
the page is computed from them, with no network built.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "scaling", ROOT / "docs" / "scaling.md"
PICTURE = ROOT / "docs" / "pictures" / "scaling.svg"
SIDE, CLASSES = 256, 1000
SIZES = (8, 64, 1000)
WIDTHS = {"dcgan": 64, "sngan": 64, "r3gan": 64, "biggan": 96}  # at 256 px; BigGAN's is the paper's
LOCAL, GLOBAL = 32, 2000  # images of a move: for each process, and over all of them
AGREEMENTS = 3  # all-reduces of one number by which the processes leave the loop together


# -- the model ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Network:
    """What a turn of a recipe asks for; FLOPs and bytes are of one image."""

    recipe: str
    parameters: dict[str, int]  # of what each player moves
    moves: dict[str, float]  # of each player in a turn
    flops: float  # of a turn, for each image of a move
    norms: int  # batch norms' all-reduces in a turn
    norm_floats: float  # numbers in one of them, on average
    operators: int  # launched in a turn
    sample_bytes: int


@dataclass(frozen=True)
class Machine:
    """Rates of one process and of what lies between processes."""

    rate: float  # FLOP/s
    launch: float  # s for each operator, beside the arithmetic
    fixed: float  # s of a turn that neither the batch nor anything else shortens
    read: float  # s for each byte of stored samples, before the arithmetic
    latency: float  # s of a message, neighbours in one host
    latency_far: float  # s, between hosts
    bandwidth: float  # bytes/s of a ring, in one host
    bandwidth_far: float  # between hosts
    per_host: int
    slots: int  # processes in a host that really run at the same time
    trees: bool  # small messages go by a tree


def reduced(m: Machine, processes: int, size: float, ring: bool = False) -> float:
    """Seconds of an all-reduce of `size` bytes: 2 (P - 1) messages round a ring, each of a
    P-th of it; or, where that is quicker, twice the depth of a tree with all of it."""
    if processes == 1:
        return 0.0
    far = processes > m.per_host
    latency = m.latency_far if far else m.latency
    bandwidth = m.bandwidth_far if far else m.bandwidth
    steps = 2 * (processes - 1)
    times = [steps * latency + steps / processes * size / bandwidth]
    if m.trees and not ring:
        times.append(2 * math.ceil(math.log2(processes)) * (latency + size / bandwidth))
    return min(times)


def turn(n: Network, m: Machine, processes: int, batch: float) -> dict[str, float]:
    """Seconds of a turn by what they are spent on; `batch` images of a move in each process."""
    crowd = max(1.0, min(processes, m.per_host) / m.slots)
    moves = sum(n.moves.values())
    arithmetic, launched = n.flops * batch / m.rate, n.operators * m.launch
    return {
        "arithmetic": crowd * arithmetic,
        "launching": max(0.0, launched - crowd * arithmetic) + crowd * m.fixed,
        "reading": crowd * moves * batch * n.sample_bytes * m.read,
        "gradients": sum(
            times * reduced(m, processes, 4 * n.parameters[player], ring=True)
            for player, times in n.moves.items()
        ),
        "batch norm": n.norms * reduced(m, processes, 4 * n.norm_floats),
        "agreement": (AGREEMENTS + moves) * reduced(m, processes, 16),
    }


def efficiency(n: Network, m: Machine, processes: int, batch: float, alone: float) -> float:
    """Images a second of each process, as a share of one process's with `alone` images a move."""
    one = sum(turn(n, m, 1, alone).values()) / alone
    return one / (sum(turn(n, m, processes, batch).values()) / batch)


# Every figure of the machine on paper, and what it is.
ASSUMED = (
    ("GPU, bf16 dense (--set precision=bf16)", 989e12, "FLOP/s", "datasheet, H100 SXM (NVIDIA)"),
    ("share of it that training reaches", 0.3, "", "assumed"),
    ("launch of an operator", 6e-6, "s", "assumed (eager PyTorch, one Python thread)"),
    ("NVLink 4, one direction", 450e9, "bytes/s", "datasheet, 900 GB/s both ways"),
    ("8 x 400 Gb/s network cards a host", 400e9, "bytes/s", "datasheet, NDR InfiniBand"),
    ("share of a link that a collective reaches", 0.7, "", "assumed"),
    ("latency of a step, within a host", 4e-6, "s", "assumed"),
    ("latency of a step, between hosts", 12e-6, "s", "assumed"),
    ("PCIe 5 x16, one direction, float32 samples", 64e9, "bytes/s", "datasheet"),
)


def on_paper(read: float) -> Machine:
    """Hosts of 8 GPUs. `read` is measured: see `reading`."""
    (gpu, share, launch, nvlink, cards, reached, near, far, pcie) = (a[1] for a in ASSUMED)
    return Machine(
        rate=gpu * share, launch=launch, fixed=0.0, read=read + 4 / pcie, latency=near,
        latency_far=far, bandwidth=nvlink * reached, bandwidth_far=cards * reached, per_host=8,
        slots=8, trees=True,
    )  # fmt: skip


# -- what the recipes ask for ---------------------------------------------------------------
def settled(recipe: str, width: int, side: int, channels: int):  # type: ignore[no-untyped-def]
    """A recipe's configuration for pictures (channels, side, side)."""
    from ganforge import config, recipes

    names = [str(i) for i in range(CLASSES if recipe == "biggan" else 0)]
    return config.resolve(recipes.recipe(recipe), {"width": width}, shape=(channels, side, side),
                          class_names=names, data="none")  # fmt: skip


def shapes(config):  # type: ignore[no-untyped-def]
    """A game whose networks have shapes and no numbers, to be made and used where tensors
    are fake."""
    from types import SimpleNamespace

    from ganforge.families import family
    from ganforge.objectives import make_objective
    from ganforge.objectives.latent import Latent
    from ganforge.spec import Spec

    latent = Latent(**config.latent.model_dump())
    objective = make_objective(config.objective, latent=latent, **config.objective_options)
    spec = Spec(config.spec.shape, config.spec.classes)
    nets = objective.networks(family(config.family, **config.family_options), spec)
    return SimpleNamespace(config=config, spec=spec, objective=objective, nets=nets)


def network(recipe: str, width: int, side: int = SIDE, channels: int = 3,
            operators: int | None = None) -> Network:  # fmt: skip
    """See `Network`; nothing is computed but shapes, except to count operators."""
    from unittest.mock import patch

    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.utils.parametrizations import _SpectralNorm

    from ganforge.families.blocks import BatchNorm
    from ganforge.training.trainer import owned
    from throughput import moves, traced

    # Shapes without numbers, for which spectral norm needs no power iterations.
    with FakeTensorMode(allow_non_fake_inputs=True), patch.object(_SpectralNorm, "_power_method"):
        game = shapes(settled(recipe, width, side, channels))
        seen = traced(game, 2)
    found = {
        k: [m for m in net.modules() if isinstance(m, BatchNorm)] for k, net in game.nets.items()
    }
    flops = norms = floats = 0.0
    for _, times, passes in moves(game):
        for p in passes:
            flops += times * sum(u.flops / 2 * (f + w + g) for u, f, w, g in p.units(seen[p.net]))
            # One on the way forward, one on the way back where a gradient goes there.
            rounds = times * p.forwards * (1 + (p.weights or p.inputs != "none"))
            norms += rounds * len(found[p.net])
            floats += rounds * sum(2 * len(b.running_mean) + 1 for b in found[p.net])
    players = game.objective.players()
    return Network(
        recipe,
        {p.name: sum(w.numel() for w in owned(game.nets, p)) for p in players},
        {p.name: p.steps / p.every for p in players},
        flops,
        round(norms),
        floats / norms if norms else 0.0,
        launched(recipe, side, channels) if operators is None else operators,
        channels * side * side,
    )


def launched(recipe: str, side: int, channels: int) -> int:
    """Operators of a turn, those of the backward passes included; narrow networks have as many
    as wide ones."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from ganforge.build import build_game, build_trainer
    from ganforge.data import Dataset
    from ganforge.spec import Batch

    class Count(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, f, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            kinds = [r.alias_info for r in f._schema.returns]
            self.n += not any(
                k is not None and not k.is_write for k in kinds
            )  # views launch nothing
            return f(*args, **(kwargs or {}))

    class Blank(Dataset):
        def __init__(self) -> None: ...

        def __len__(self) -> int:
            return 100

        def batch(self, indices) -> Batch:  # type: ignore[no-untyped-def]
            label = torch.zeros(len(indices), dtype=torch.int64) if recipe == "biggan" else None
            return Batch(torch.zeros(len(indices), channels, side, side), label)

    trainer = build_trainer(build_game(settled(recipe, 8, side, channels)), Blank())
    trainer.batch_size = 2
    trainer.turn()
    with Count() as count:
        trainer.turn()
    return count.n


def reading(side: int, channels: int, batch: int = 32, repeats: int = 60) -> float:
    """Measured seconds of a core for each stored byte: gathered at random and scaled to float32."""
    import numpy as np

    from ganforge.data import Dataset

    data = Dataset(
        np.random.default_rng(0).integers(0, 256, (1024, side, side, channels), np.uint8)
    )
    places = np.random.default_rng(1).integers(0, 1024, (repeats, batch))
    times = []
    for some in places:
        t = time.process_time()
        data.batch(some)
        times.append(time.process_time() - t)
    return statistics.median(times) / (batch * side * side * channels)


def networks() -> None:
    body = {
        "side": SIDE,
        "read_s_per_byte": reading(SIDE, 3),
        "networks": [asdict(network(r, w)) | {"width": w} for r, w in WIDTHS.items()],
    }
    _keep("networks.json", body)


# -- what happens here ----------------------------------------------------------------------
HERE = {"gan": 64, "dcgan": 16}  # recipe: width, at 28 px
SECONDS, BATCH = 4.0, 48
PROCESSES = (1, 2, 3)
QUICK = 0.05  # the share of turns that nothing else on the machine interrupts, if it is shared


def work(recipe: str, batch: int) -> dict[str, float]:
    """One process's part of a measurement: seconds of its turns and of bare all-reduces."""
    import torch
    from torch.nn import Parameter

    from ganforge import api
    from ganforge.build import build_game, build_trainer
    from ganforge.training.distributed import agree, average_gradients, join

    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    here = join(cpu)
    config, data, _ = api.plan("fashion-mnist-mini", recipe, width=HERE[recipe], batch_size=batch)
    trainer = build_trainer(build_game(config, device=cpu), data, here)

    def timed(f: Callable[[], object], seconds: float) -> float:
        times: list[float] = []
        for _ in range(3):
            f()
        went_on, end = True, time.perf_counter() + seconds
        while went_on:
            for _ in range(10):
                t = time.perf_counter()
                f()
                times.append(time.perf_counter() - t)
            went_on = not agree(time.perf_counter() > end, cpu)
        return sorted(times)[int(QUICK * len(times))]

    def whole() -> None:
        trainer.turn()
        for _ in range(AGREEMENTS):
            agree(False, cpu)

    found = {"turn": timed(whole, SECONDS)}
    if here.size > 1:
        for floats in (4, 1_000_000):
            p = Parameter(torch.zeros(floats))
            p.grad = torch.zeros(floats)
            found[f"reduce {floats}"] = timed(lambda p=p: average_gradients([p]), SECONDS / 3)
    return found


def ask(recipe: str, batch: int, processes: int) -> dict[str, float]:
    """`work` of the first of so many processes. They are forks of this one, which has imported
    and computed nothing: threads do not survive a fork."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    place = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    read, write = os.pipe()
    started = []
    for rank in range(processes):
        if not (pid := os.fork()):
            code = 1
            try:
                os.environ |= {k: str(v) for k, v in place.items()} | {"RANK": str(rank)}
                found = work(recipe, batch)
                if not rank:
                    os.write(write, json.dumps(found).encode())
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        started.append(pid)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    ended = [os.waitpid(pid, 0)[1] for pid in started]
    if any(ended):
        raise SystemExit("a process of the measurement failed")
    return json.loads(text)


def here(rounds: int) -> None:
    """Everything `rounds` times in turn, so that what else runs meets all alike; the least of
    the rounds is kept."""
    import ganforge.sitting  # noqa: F401

    cores = len(os.sched_getaffinity(0))
    body: dict[str, Any] = {"cores": cores, "batch": BATCH, "rounds": rounds, "recipes": {}}
    body["load_before"] = round(os.getloadavg()[0], 1)
    for recipe, width in HERE.items():
        seen: dict[str, list[float]] = {}
        for _ in range(rounds):
            asked = [(BATCH, p) for p in PROCESSES] + [(BATCH // p, 1) for p in PROCESSES[1:]]
            for batch, p in asked:
                for what, seconds in ask(recipe, batch, p).items():
                    seen.setdefault(f"{what}, {p} x {batch // p}", []).append(seconds)
        quiet = {k: min(v) for k, v in seen.items()}
        spread = {k: max(v) / min(v) for k, v in seen.items()}
        body["recipes"][recipe] = {"width": width, "seconds": quiet, "spread": spread}
        print(recipe, {k: f"{v * 1e3:.2f} ms" for k, v in quiet.items()}, file=sys.stderr)
    body["load_after"] = round(os.getloadavg()[0], 1)
    for recipe, found in body["recipes"].items():
        found["network"] = asdict(network(recipe, found["width"], 28, 1, operators=0))
    _keep("here.json", body)


def fitted(found: dict[str, Any], cores: int, processes: int) -> Machine:
    """This machine as the model sees it. From turns of one process at two batches: the rate of
    arithmetic and the fixed cost. From bare all-reduces: latency and bandwidth. Nothing is
    taken from a turn of several processes: those are what it is to predict."""
    n, s = Network(**found["network"]), found["seconds"]
    b, low = BATCH, BATCH // PROCESSES[-1]
    slope = (s[f"turn, 1 x {b}"] - s[f"turn, 1 x {low}"]) / (b - low)
    fixed = max(0.0, s[f"turn, 1 x {b}"] - slope * b)
    latency, bandwidth = 0.0, 1.0
    if processes > 1:
        steps, share = 2 * (processes - 1), BATCH // processes
        small = s[f"reduce 4, {processes} x {share}"]
        large = s[f"reduce 1000000, {processes} x {share}"]
        latency = small / steps
        bandwidth = steps / processes * 4e6 / max(large - small, 1e-9)
    return Machine(
        rate=n.flops / slope, launch=0.0, fixed=fixed, read=0.0, latency=latency,
        latency_far=latency, bandwidth=bandwidth, bandwidth_far=bandwidth, per_host=10**9,
        slots=cores, trees=False,
    )  # fmt: skip


def predicted(found: dict[str, Any], cores: int, processes: int) -> dict[str, float]:
    m = fitted(found, cores, processes)
    return turn(Network(**found["network"]), m, processes, BATCH / processes)


# -- the page -------------------------------------------------------------------------------
HOW = """## How to train in several processes

```
torchrun --standalone --nproc-per-node 2 --max-restarts 3 -m ganforge train DATA --run-dir runs/two
torchrun --nnodes 2 --node-rank 0 --master-addr HOST --master-port 29500 --nproc-per-node 8 \\
    -m ganforge train DATA --run-dir /shared/runs/many      # on each host with its own --node-rank
```
- The result is that of one process at the same global batch, within float tolerance: same order of the data,
  same draws, batch norm over all (tested with 2 and 3 processes, from a stream, and over two network namespaces).
  Two exceptions: each process of `cyclegan` shows its critics its own pool of earlier forgeries, and after a resume all
  begin with the first one's (`--set pool=0` has none); and the pulling-away term compares the codes of each process's own
  samples.
- `--batch-size` is over all processes, which have to divide it; otherwise the command says so and stops.
- The run folder, which process 0 alone writes, has to be where every host sees it.
- When a process is killed, the others notice in their next exchange with it and stop in one line, with exit code 1;
  torchrun starts all anew (`--max-restarts`) and they go on from the last checkpoint, to the bit with as many processes.
  Checkpoints are written every 30 s to 3 min. A host that vanishes without closing its connections (a cut cable) is noticed
  only after gloo's or nccl's own timeout of many minutes.
"""


def results() -> tuple[dict[str, Any], dict[str, Any]]:
    return tuple(json.loads((RESULTS / f).read_text()) for f in ("networks.json", "here.json"))  # type: ignore[return-value]


def _keep(name: str, body: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(json.dumps(body, indent=1) + "\n")


def _network(row: dict[str, Any]) -> Network:
    return Network(**{k: v for k, v in row.items() if k != "width"})


def ms(seconds: float) -> str:
    """Milliseconds to three digits, 0 as such."""
    return "0" if seconds < 5e-7 else f"{seconds * 1e3:.3g}"


def breaks(n: Network, m: Machine, batch: Any) -> str:
    """What costs most beside the arithmetic, as the number of processes grows."""
    worst = {p: turn(n, m, p, batch(p)) for p in SIZES}
    named = {
        p: max((k for k in t if k != "arithmetic"), key=lambda k, t=t: t[k])
        for p, t in worst.items()
    }
    return ", ".join(
        f"{named[p]} ({worst[p][named[p]] / sum(worst[p].values()):.0%})" for p in SIZES
    )


def paper(networks: dict[str, Any]) -> list[str]:
    m = on_paper(networks["read_s_per_byte"])
    rows = [(_network(r), r["width"]) for r in networks["networks"]]
    out = ["| recipe | width | parameters | a turn's FLOPs an image | operators | norms' all-reduces |",
           "| --- " * 6 + "|"]  # fmt: skip
    for n, width in rows:
        sizes = ", ".join(f"{k} {v / 1e6:.1f} M" for k, v in n.parameters.items())
        out.append(
            f"| {n.recipe} | {width} | {sizes} | {n.flops / 1e9:.0f} G | {n.operators} | {n.norms} |"
        )

    out += ["", "Width is 96 in `biggan`, as in its paper at this size, and 64 in the others."]

    def local(_: int) -> float:
        return LOCAL

    def strong(p: int) -> float:
        return GLOBAL / p

    for title, batch in ((f"{LOCAL} images of a move on each GPU", local),
                         (f"{GLOBAL} images of a move over all GPUs", strong)):  # fmt: skip
        names = list(turn(rows[0][0], m, 8, 1))
        out += ["", f"### {title}", "", f"| recipe | GPUs | {', ms | '.join(names).replace('launching', 'launching beyond arithmetic')}, ms | turn, ms | efficiency |",
                "| --- " * (len(names) + 4) + "|"]  # fmt: skip
        for n, _ in rows:
            for p in SIZES:
                t = turn(n, m, p, batch(p))
                e = efficiency(n, m, p, batch(p), batch(SIZES[0]))
                cells = " | ".join(ms(v) for v in t.values())
                out.append(f"| {n.recipe} | {p:,} | {cells} | {ms(sum(t.values()))} | {e:.2f} |")
        out += [
            "",
            f"Beside the arithmetic, most is spent at {', '.join(f'{p:,}' for p in SIZES)} GPUs on:",
        ]
        out += [f"- {n.recipe}: {breaks(n, m, batch)}" for n, _ in rows]
    return out


def checked(here: dict[str, Any]) -> list[str]:
    out = ["| recipe | processes | arithmetic and fixed, ms | gradients, ms | batch norm, ms | agreement, ms "
           "| predicted, ms | measured, ms | predicted / measured |", "| --- " * 9 + "|"]  # fmt: skip
    for recipe, found in here["recipes"].items():
        for p in PROCESSES:
            t = predicted(found, here["cores"], p)
            whole, real = sum(t.values()), found["seconds"][f"turn, {p} x {BATCH // p}"]
            parts = (
                t["arithmetic"] + t["launching"],
                t["gradients"],
                t["batch norm"],
                t["agreement"],
            )
            cells = " | ".join(ms(v) for v in (*parts, whole, real))
            out.append(f"| {recipe} | {p} | {cells} | {whole / real:.2f} |")
    return out


def page() -> str:
    networks, here = results()
    head = " ".join((__doc__ or "").split("\n\n")[2].split())
    lines = [
        "# Scaling", "", "Made by `python benchmarks/scaling.py`; not edited by hand.", "", head, "", HOW,
        "## On paper: 256 px on 8, 64 and 1,000 GPUs", "",
        "Nothing in this section was measured on a GPU. What the model takes from the recipes is counted "
        f"from their layers; reading a sample ({networks['read_s_per_byte'] * 1e9:.2f} ns a stored byte, one "
        "core, data in memory) was measured on the machine of the last section; everything else is in this table.", "",
        "| what | value | is |", "| --- | --- | --- |",
        *(f"| {what} | {f'{value:.3g} {unit}'.strip()} | {kind} |" for what, value, unit, kind in ASSUMED), "",
        *paper(networks), "",
        f"![Efficiency against GPUs](pictures/{PICTURE.name})", "",
        "Efficiency is images a second of a GPU against one GPU alone with as many images of a move as each of "
        f"{SIZES[0]} has.", "", "## What breaks first", "",
        *found(networks), "",
        "## Checked here: 1, 2 and 3 processes", "",
        f"{here['cores']} cores, gloo over loopback, OMP_NUM_THREADS=1, fashion-mnist-mini at 28 px, {BATCH} images of a "
        f"move over all processes; {', '.join(f'{r} of width {w}' for r, w in HERE.items())}. The rate and the fixed "
        "cost are fitted to one process at two batches, latency and bandwidth to bare all-reduces with as many processes; "
        "no turn of several processes is fitted to. With three processes on two cores the model has each run two thirds "
        f"of the time. A turn's time is the one that {QUICK:.0%} of turns are quicker than, of {SECONDS:.0f} seconds of them, the "
        f"least of {here['rounds']} rounds: on a shared machine those that nothing else interrupted.", "",
        *checked(here), "",
        told(here), "",
    ]  # fmt: skip
    return "\n".join(lines)


def found(networks: dict[str, Any]) -> list[str]:
    """What breaks first, in the model's own numbers."""
    m, by = on_paper(networks["read_s_per_byte"]), {
        r["recipe"]: _network(r) for r in networks["networks"]
    }  # fmt: skip
    few, most = SIZES[0], SIZES[-1]
    dcgan, r3gan, big = (turn(by[k], m, few, LOCAL) for k in ("dcgan", "r3gan", "biggan"))
    ring = 2 * (most - 1) * m.latency_far
    tree = reduced(m, most, 4 * by["r3gan"].parameters["D"])
    far = turn(by["biggan"], m, most, LOCAL)["gradients"]
    thin = turn(by["r3gan"], m, most, GLOBAL / most)
    return [
        f"- **First, within one host: reading.** A move reads its batch on one Python thread before it computes. "
        f"For {LOCAL} images that is {ms(dcgan['reading'] / 2)} ms a move, {dcgan['reading'] / sum(dcgan.values()):.0%} of "
        f"`dcgan`'s turn on {few} GPUs, {r3gan['reading'] / sum(r3gan.values()):.0%} of `r3gan`'s and "
        f"{big['reading'] / sum(big.values()):.0%} of `biggan`'s. It does not grow with the number of GPUs, so it does not show in "
        "the efficiency. A thread that reads ahead and scaling on the GPU would hide it; neither is built.",
        f"- **Then, at {most:,} GPUs: the latency of a ring.** One flat all-reduce for each move takes 2 (P - 1) steps: "
        f"{ms(ring)} ms however few parameters there are, twice a turn and six times `sngan`'s, whose D moves five times. A tree, "
        f"which NCCL may choose, would take {ms(tree)} ms for `r3gan`'s D. Bandwidth is second even for `biggan`: of its "
        f"{ms(far)} ms, {ms(2 * ring)} are latency. One all-reduce a move is right; buckets would multiply its latency.",
        f"- **Batch norm** waits twice for each layer and pass ({by['dcgan'].norms} times in a turn of `dcgan`); `r3gan`, "
        "which has no norm, does not.",
        f"- **A global batch that stays.** With {GLOBAL} images over {most:,} GPUs each has {GLOBAL // most}: launching operators takes "
        f"longer than the arithmetic ({ms(thin['arithmetic'] + thin['launching'])} ms against {ms(thin['arithmetic'])} for `r3gan`). "
        "More GPUs need more images a move, or fewer GPUs are as quick.",
        "- **Not in the model:** stragglers; the scores, pictures and checkpoints that process 0 makes while all others wait; "
        "storage that many hosts read at once (each must sustain what the table calls reading).",
    ]  # fmt: skip


def told(here: dict[str, Any]) -> str:
    """How good the predictions are, and how far the machine was to be trusted."""
    ratios = [
        sum(predicted(f, here["cores"], p).values()) / f["seconds"][f"turn, {p} x {BATCH // p}"]
        for f in here["recipes"].values()
        for p in PROCESSES[1:]
    ]
    load, worst = (
        here["load_before"],
        max(v for f in here["recipes"].values() for v in f["spread"].values()),
    )
    said = (
        f"Predicted turns of several processes are {min(ratios):.2f} to {max(ratios):.2f} of the measured ones. The machine's load "
        f"was {load} before and {here['load_after']} after, and rounds differ by up to {worst:.1f} times."
    )
    if load > 1:
        said += (
            " The prediction is for free cores, and these were not: other programs "
            "held a good part of both, and processes that wait for each other lose whenever one of them is stopped. So this "
            "is no proof of the model; what it is worth shows on a quiet machine, by the same command."
        )
    return said


def draw() -> None:
    """Efficiency against GPUs, of every recipe."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "scaling", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    networks, _ = results()
    m = on_paper(networks["read_s_per_byte"])
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    at = [1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000]
    cases = (
        (f"{LOCAL} images on each GPU", lambda p: LOCAL),
        (f"{GLOBAL} images over all GPUs", lambda p: GLOBAL / p),
    )
    for ax, (title, batch) in zip(axes, cases, strict=True):
        some = [p for p in at if batch(p) <= GLOBAL / SIZES[0]]
        for row in networks["networks"]:
            n = _network(row)
            values = [efficiency(n, m, p, batch(p), batch(SIZES[0])) for p in some]
            ax.semilogx(some, values, "o-", markersize=3, label=n.recipe)
        ax.set(title=title, xlabel="GPUs", ylim=(0, 1.05), xticks=[1, 8, 64, 1000])
        ax.set_xticklabels(["1", "8", "64", "1,000"])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("efficiency (predicted)")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", default=["here", "networks"], metavar="here|networks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="only the page")
    args = parser.parse_args()
    if not args.table:
        if "here" in args.parts:  # before anything computes: it forks
            here(args.rounds)
        if "networks" in args.parts:
            networks()
    if all((RESULTS / f).exists() for f in ("networks.json", "here.json")):
        draw()
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
