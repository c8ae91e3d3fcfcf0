"""What grows with what: a step's time and memory against size, batch, width, data and processes.

    python benchmarks/growth.py              # everything, then the page
    python benchmarks/growth.py size batch   # some: floor size batch width count sampling start
    python benchmarks/growth.py --table      # only docs/growth.md and its picture

Seconds are of processor time of one core (OMP_NUM_THREADS=1), which other work on the machine
changes by some per cent, not by several times; on an idle core they are what a clock shows. A step is a
turn: D's move and G's. Memory is the peak of RssAnon, what only this process can free, less
what it was before the networks were built and less what the smallest training takes (8 x 8
pixels, width 1, batch 2: the libraries' own). Each point is a fork of a process that has only
imported, measured twice in turn, the lesser kept. A slope is the exponent of a power law,
fitted to the logarithms of the upper half of a row's points: twice the x takes 2^slope times
the y.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "growth", ROOT / "docs" / "growth.md"
PICTURE = ROOT / "docs" / "pictures" / "growth.svg"
RECIPE, SIZE, BATCH, WIDTH = "dcgan", 32, 32, 16
AXES: dict[str, tuple[int, ...]] = {
    "size": (16, 24, 32, 48, 64),
    "batch": (8, 16, 32, 64, 128),
    "width": (8, 16, 32, 64),
    "count": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
}
LABELS = {
    "size": "image size, pixels a side",
    "batch": "batch",
    "width": "width",
    "count": "images in the data",
}
TURNS, ROUNDS = 7, 2
USERS = ("gan", "auto", "dcgan")  # whose appetite the loader is compared with; the quickest first


# -- measuring ------------------------------------------------------------------------------
def forked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns, done in a fork."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read)
            with os.fdopen(write, "w") as out:
                out.write(json.dumps(work()))
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("a row failed")
    return json.loads(text)


def median_cpu(f: Callable[[], object], repeats: int, warm: int = 2) -> float:
    times = []
    for i in range(repeats + warm):
        t = time.process_time()
        f()
        if i >= warm:
            times.append(time.process_time() - t)
    return statistics.median(times)


def sparse(folder: Path, count: int, side: int) -> Any:
    """A data set of grey pictures in a store that takes no room: holes are zeros."""
    from ganforge.data.source import Address, view
    from ganforge.data.store import Store
    from memory import make_sparse

    path = folder / f"{count}-{side}.store"
    if not path.exists():
        make_sparse(path, count, (side, side, 1))
    return view(Store(path), Address("sparse"), "sparse", None, folder)


def trainer_of(recipe: str, data: Any, **settings: int) -> Any:
    """Its trainer on opened data; what `api.plan` and `api.begin` do."""
    from ganforge import config, recipes
    from ganforge.build import build_game, build_trainer

    chosen = recipes.recipe(recipe)
    if chosen.plan is not None:
        chosen = chosen.with_settings(chosen.plan(data, {"minutes": 1})[0])
    settled = config.resolve(chosen, settings, shape=data.shape, data="sparse")
    return build_trainer(build_game(settled), data)


def row(axis: str, x: int, folder: Path, **other: int) -> dict[str, Any]:
    """A point: a turn's seconds, and the memory of everything."""
    from memory import Peak, anonymous

    at = {"size": SIZE, "batch": BATCH, "width": WIDTH, "count": 10_000} | {axis: x} | other
    before = anonymous()
    with Peak() as peak:
        data = sparse(folder, at["count"], at["size"])
        trainer = trainer_of(RECIPE, data, batch_size=at["batch"], width=at["width"])
        step = median_cpu(trainer.turn, TURNS)
    found = {"x": x, "step_s": step, "memory_mib": round(peak.value - before, 1)}
    if axis == "count":
        places = iter(range(10**6))

        def load() -> None:
            data.batch(trainer.shuffle.at(next(places) * BATCH, BATCH))

        found["load_s"] = median_cpu(load, 300, 30)
        one = BATCH / found["load_s"]
        found["loaded_per_s"] = round(one)
    return found


def appetite(recipe: str, folder: Path) -> dict[str, Any]:
    """Images a second of one core that a recipe's training draws, by all its moves."""
    data = sparse(folder, 10_000, SIZE)
    trainer = trainer_of(recipe, data)
    trainer.turn()
    drawn = trainer.drawn
    seconds = median_cpu(trainer.turn, TURNS, 0)
    each = (trainer.drawn - drawn) / TURNS
    return {"recipe": recipe, "batch": trainer.batch_size, "drawn_per_s": round(each / seconds, 1)}


def sampling(folder: Path) -> dict[str, Any]:
    """Samples a second by the bare generator, in a stream, and in a stream to shards."""
    import torch

    import ganforge
    from ganforge.export.samples import write_shards
    from ganforge.spec import Ask

    n, out = 4096, {}
    for recipe, width in (("gan", 32), ("dcgan", 16), ("dcgan", 64)):
        run = folder / f"{recipe}-{width}"
        ganforge.train(recipe=recipe, run=run, steps=1, width=width, batch_size=8)
        made = ganforge.load(run)
        z = made.latent.draw(256)

        @torch.no_grad()
        def bare(made: Any = made, z: Any = z) -> None:
            for _ in range(n // 256):
                made.objective.sample(made.nets, Ask(z))

        seconds = {
            "bare": median_cpu(bare, 3, 1),
            "stream": median_cpu(lambda made=made: [None for _ in made.stream(n)], 3, 1),
            "shards": median_cpu(
                lambda made=made, to=folder / f"{recipe}-{width}-shards": write_shards(
                    made.stream(n), to, n, 1000, uint8=True
                ), 3, 1,
            ),
        }  # fmt: skip
        out[f"{recipe}, width {width}"] = {k: round(n / v) for k, v in seconds.items()}
    return out


STARTS = {
    "import ganforge": ["-c", "import ganforge"],
    "ganforge --help": ["-m", "ganforge", "--help"],
    "import torch": ["-c", "import torch"],
}
FIRST = """
import time, ganforge.api as api, ganforge.build as build, ganforge.sitting
a, b = time.process_time(), time.perf_counter()
config, data, _ = api.plan("fashion-mnist-mini", "{recipe}", minutes=1)
build.build_trainer(build.build_game(config), data).turn()
print(time.process_time() - a, time.perf_counter() - b)
"""


def start() -> dict[str, Any]:
    """Seconds of processor time, and by the clock, until a command is done."""
    out = {}
    for name, command in STARTS.items():
        best = []
        for _ in range(3):
            used, t = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            wall, now = time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            best.append((round(cpu, 3), round(wall, 3)))
        out[name] = {"cpu_s": min(b[0] for b in best), "wall_s": min(b[1] for b in best)}
    for recipe in ("auto", "dcgan"):
        code = ["-c", FIRST.format(recipe=recipe)]
        ran = [
            subprocess.run([sys.executable, *code], check=True, capture_output=True, text=True)
            for _ in range(3)  # the first one packs
        ][1:]
        times = [[float(v) for v in r.stdout.split()] for r in ran]
        out[f"a second start's first step, {recipe}"] = {
            "cpu_s": round(min(t[0] for t in times), 3), "wall_s": round(min(t[1] for t in times), 3)
        }  # fmt: skip
    return out


def measure(parts: Sequence[str]) -> None:
    import torch

    # Everything that rows import, and nothing that computes: threads do not survive a fork.
    import ganforge.export.samples
    import ganforge.judging.watch  # noqa: F401
    import memory  # noqa: F401
    from ganforge import api, families, objectives  # noqa: F401

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in parts:
            t = time.monotonic()
            if part in AXES:
                turns = [
                    [forked(lambda x=x, part=part: row(part, x, folder)) for x in AXES[part]]
                    for _ in range(ROUNDS)
                ]
                body: Any = [
                    {k: (max if k == "loaded_per_s" else min)(r[k] for r in same) for k in same[0]}
                    for same in zip(*turns, strict=True)
                ]
                if part == "count":
                    users = [forked(lambda r=r: appetite(r, folder)) for r in USERS]
                    body = {"rows": body, "users": users}
            elif part == "floor":
                body = forked(lambda: row("size", 8, folder, width=1, batch=2))
            else:
                body = forked(lambda: sampling(folder)) if part == "sampling" else start()
            RESULTS.mkdir(parents=True, exist_ok=True)
            (RESULTS / f"{part}.json").write_text(json.dumps(body, indent=1) + "\n")
            print(f"{part}: {time.monotonic() - t:.0f} s", file=sys.stderr, flush=True)


# -- the page -------------------------------------------------------------------------------
def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The exponent of the power law through the upper half of the points, least squares."""
    half = len(xs) // 2 if len(xs) > 3 else 0
    a, b = [math.log(x) for x in xs[half:]], [math.log(y) for y in ys[half:]]
    ma, mb = statistics.fmean(a), statistics.fmean(b)
    return sum((p - ma) * (q - mb) for p, q in zip(a, b, strict=True)) / sum(
        (p - ma) ** 2 for p in a
    )


def results(part: str) -> Any:
    return json.loads((RESULTS / f"{part}.json").read_text())


def rows_of(axis: str) -> list[dict[str, Any]]:
    found, floor = results(axis), results("floor")["memory_mib"]
    rows = found["rows"] if axis == "count" else found
    return [r | {"memory_mib": max(r["memory_mib"] - floor, 0.1)} for r in rows]


WHY: dict[str, str] = {
    "size": """Time: a convolution's work is proportional to the number of pixels, so the slope goes to 2; it is below
        while the turn's fixed part (some hundred operators, the optimiser) still counts. A DCGAN gets a
        stage more when the side doubles, of a quarter of the pixels and twice the channels, which adds
        about as much as the one before. Memory: the maps that the backward pass keeps grow with the pixels,
        weights by a stage.""",
    "batch": """Time: every operator's work is proportional to the number of samples, so the slope goes to 1 from below
        as the fixed part is shared by more; the shared machine moves single points by a third. Memory: maps
        grow with the batch, weights, gradients, Adam's two moments and the average do not.""",
    "width": """Time: work between two maps grows with the square of the width, reading and writing them (norms,
        activations, the columns that some convolutions are made of) with the width itself; narrow networks
        are bound by the second, so the slope is between 1 and 2 and rises. Memory: parameters, of which
        there are five copies and more (gradient, moments, average), grow with the square, maps with the
        width.""",
    "count": """Time and memory of a step do not depend on how many images there are: the order is computed
        from the position, and a batch is gathered from a mapped file. Loading a batch takes longer where
        the store no longer lies in the processor's cache and each sample is a page fault of its own; it
        remains under a hundredth of a step. The stores are sparse files, so no disk is read: one that does
        not fit into memory waits for its disk besides.""",
    "processes": """What the same global batch costs in more processes, by the clock, the quickest twentieth of
        turns. On cores of its own each process has its share of the arithmetic, the whole fixed part, and
        one all-reduce of gradients for each move and of each batch norm's sums; processes that outnumber the
        free cores take turns and gain nothing. How loaded the machine was, and what a model says, is in
        [Scaling](scaling.md). Memory of weights, optimiser and average is each process's own and does
        not shrink; maps do, with its share of the batch.""",
    "sampling": """Where the networks have work to do (`dcgan`) shards are written at nearly their speed. A small
        mlp makes a sample in less time than its latent takes to be drawn (every number is a hash of its
        sample's number, so that sample i never changes) and its bytes to be written, so there the
        generator's own speed is missed.""",
    "start": """Processor seconds are what the commands need; the clock's were taken on a shared machine. A first step
        counts from the end of the imports. The marks are 0.3 s for the first two and 3 s for the first step,
        on a machine of one's own.""",
}


def page() -> str:
    head = [" ".join(p.split()) for p in (__doc__ or "").split("\n\n")[2:]]
    out = ["# Growth", "", "Made by `python benchmarks/growth.py`; not edited by hand.", "", *head, "",
           f"Where nothing else is said: `{RECIPE}` of width {WIDTH}, {SIZE} x {SIZE} grey pixels, batch {BATCH}, "
           f"10,000 images, float32. The smallest training takes {results('floor')['memory_mib']:.0f} MiB.", "", f"![Time and memory](pictures/{PICTURE.name})", ""]  # fmt: skip
    for axis in AXES:
        rows = rows_of(axis)
        xs = [r["x"] for r in rows]
        out += [f"## {LABELS[axis].split(',')[0].capitalize()}", "",
                f"| {LABELS[axis]} | {' | '.join(f'{x:,}' for x in xs)} | slope |", "| --- " * (len(xs) + 2) + "|"]  # fmt: skip
        lines = {
            "step, ms": [r["step_s"] * 1e3 for r in rows],
            "memory, MiB": [r["memory_mib"] for r in rows],
        }
        if axis == "count":
            lines |= {"loading a batch, ms": [r["load_s"] * 1e3 for r in rows]}
        for name, ys in lines.items():
            out.append(f"| {name} | {' | '.join(f'{y:.3g}' for y in ys)} | {slope(xs, ys):.2f} |")
        out += ["", " ".join(WHY.get(axis, "").split()), ""]
    out += [*processes(), *loader(), *sampled(), *started()]
    return "\n".join(out)


def processes() -> list[str]:
    """From the measurement of docs/scaling.md."""
    here = json.loads((RESULTS.parent / "scaling" / "here.json").read_text())
    counts = sorted(
        {int(k.split(",")[1].split("x")[0]) for f in here["recipes"].values() for k in f["seconds"]}
    )
    out = [
        "## Processes",
        "",
        f"| step, ms, by the clock | {' | '.join(map(str, counts))} |",
        "| --- " * (len(counts) + 1) + "|",
    ]

    def key(p: int) -> str:
        return f"turn, {p} x {here['batch'] // p}"

    for recipe, found in here["recipes"].items():
        cells = [f"{found['seconds'][key(p)] * 1e3:.3g}" for p in counts]
        out.append(
            f"| {recipe}, width {found['width']}, {here['batch']} images over all | {' | '.join(cells)} |"
        )
    return [*out, "", " ".join(WHY.get("processes", "").split()), ""]


def loader() -> list[str]:
    found = results("count")
    by = {r["x"]: r["loaded_per_s"] for r in found["rows"]}
    ends = (1_000_000, 10_000_000)
    out = ["## The loader and what training can use", "",
           "Images a second of one core: what the loader alone gives (shuffled, scaled to float32), and what a "
           "recipe's training draws by all its moves (throughput.md counts D's alone) at its own width and batch. The mark is ten times as many.", "",
           f"| recipe | draws | {' | '.join(f'loader, {n:,} images | times as many' for n in ends)} |", "| --- " * 6 + "|"]  # fmt: skip
    for user in found["users"]:
        cells = " | ".join(f"{by[n]:,} | {by[n] / user['drawn_per_s']:.0f}" for n in ends)
        out.append(f"| {user['recipe']} | {user['drawn_per_s']:,.0f} | {cells} |")
    missed = [
        u["recipe"] for u in found["users"] if min(by[n] for n in ends) < 10 * u["drawn_per_s"]
    ]
    out += ["", "The mark is met for every one of them." if not missed else
            f"The mark is missed for {', '.join(missed)}.", ""]  # fmt: skip
    return [*out[:-1], *([" ".join(WHY["loader"].split())] if "loader" in WHY else []), ""]


def sampled() -> list[str]:
    out = ["## Sampling", "",
           "Samples a second of one core: the networks alone on a latent drawn before, `Generator.stream`, and "
           "`ganforge sample --shard 1000 --uint8`.", "",
           "| generator | bare | stream | to shards | of the bare speed |", "| --- " * 5 + "|"]  # fmt: skip
    for name, r in results("sampling").items():
        out.append(
            f"| {name} | {r['bare']:,} | {r['stream']:,} | {r['shards']:,} | {r['shards'] / r['bare']:.2f} |"
        )
    return [*out, "", " ".join(WHY.get("sampling", "").split()), ""]


def started() -> list[str]:
    out = ["## Starting", "", "Seconds until done, the best of three, or of the two after the first where that packed; a second start has its data packed already.", "",
           "| what | processor | clock |", "| --- " * 3 + "|"]  # fmt: skip
    for name, r in results("start").items():
        out.append(f"| {name} | {r['cpu_s']:.2f} | {r['wall_s']:.2f} |")
    return [*out, "", " ".join(WHY.get("start", "").split()), ""]


def draw() -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "growth", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(AXES), figsize=(10, 4.6), sharex="col", sharey="row")
    for column, axis in enumerate(AXES):
        rows = rows_of(axis)
        xs = [r["x"] for r in rows]
        for ax, key, scale in zip(axes[:, column], ("step_s", "memory_mib"), (1e3, 1), strict=True):
            ys = [r[key] * scale for r in rows]
            ax.loglog(xs, ys, "o-", markersize=3)
            ax.set_title(f"slope {slope(xs, ys):.2f}", fontsize=9)
            ax.minorticks_off()
            ax.grid(alpha=0.3)
        axes[1, column].set_xlabel(LABELS[axis])
        shown = xs if axis != "count" else xs[::2]
        axes[1, column].set_xticks(shown)
        axes[1, column].set_xticklabels([f"{x:,}" for x in shown], fontsize=8)
    for ax, label, ticks in (
        (axes[0, 0], "step, ms", (20, 50, 100, 200, 500)),
        (axes[1, 0], "memory, MiB", (2, 5, 10, 20, 50)),
    ):
        low, high = ax.get_ylim()
        some = [t for t in ticks if low <= t <= high]
        ax.set_ylabel(label)
        ax.set_yticks(some, [str(t) for t in some])
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    os.environ["OMP_NUM_THREADS"] = "1"
    known = ("floor", *AXES, "sampling", "start")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", default=known, metavar="PART")
    parser.add_argument("--table", action="store_true", help="only the page")
    args = parser.parse_args()
    if not args.table:
        measure(args.parts)
    if all((RESULTS / f"{part}.json").exists() for part in known):
        draw()
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
