"""What torch.compile and bf16 gain here, start-up included.

    python benchmarks/compiled.py [RECIPE ...] [--turns 40] [--device auto] [--json]

Each recipe is trained three ways in one process, turn by turn in alternation, so that whatever
else the machine does meets all three: as it comes, with `precision=bf16`, and with
`compiled=true`. A ratio is of medians. `start` is how much longer the first turns take while
torch.compile works; `pays after` is how long a training must be before its gain has paid for
that. Neither is a default: they would have to win, start included, within the minutes that
most trainings last.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import torch

from ganforge import api
from ganforge.build import build_game, build_trainer, pick_device
from ganforge.errors import UserError

WAYS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "compiled": {"compiled": True},
}
RECIPES = {
    "auto": {"minutes": 5},
    "dcgan": {"width": 32},
    "r3gan": {"width": 16, "batch_size": 32},
    "wgan-gp": {"width": 32},
}


def measure(name: str, turns: int, device: torch.device) -> dict[str, Any]:
    """Seconds of a turn by each way, and of the first two turns."""
    settings = RECIPES.get(name, {})
    first, trainers = {}, {}
    for way, more in WAYS.items():
        config, data, own = api.plan("fashion-mnist-mini", name, size=32, **(settings | more))
        try:
            trainer = build_trainer(build_game(config, own, device), data)
            first[way] = timed(trainer, device) + timed(trainer, device)
        except UserError as e:
            print(f"{name}: {e}")
            continue
        trainers[way] = trainer
    taken: dict[str, list[float]] = {way: [] for way in trainers}
    for _ in range(turns):
        for way, trainer in trainers.items():
            taken[way].append(timed(trainer, device))
    turn = {way: median(t) for way, t in taken.items()}
    found: dict[str, Any] = {"recipe": name, "turn_ms": {w: 1000 * t for w, t in turn.items()}}
    found["speed"] = {w: turn["fp32"] / t for w, t in turn.items()}
    if "compiled" in turn:
        start = first["compiled"] - first["fp32"]
        gain = 1 - turn["compiled"] / turn["fp32"]
        found |= {"start_s": start, "pays_after_s": start / gain if gain > 0 else None}
    return found


def timed(trainer: Any, device: torch.device) -> float:
    began = time.perf_counter()
    trainer.turn()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    device = pick_device(args.device)
    results = []
    for name in args.recipes:
        torch.compiler.reset()  # a process may compile the same code only so often
        results.append(measure(name, args.turns, device))
    if args.json:
        print(json.dumps(results))
        return
    print("| recipe | fp32, ms a turn | bf16, times as fast | compiled, times as fast | start, s | pays after |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        speed, pays = r["speed"], r.get("pays_after_s")
        print(
            f"| {r['recipe']} | {r['turn_ms']['fp32']:.0f} | {speed['bf16']:.2f} "
            f"| {speed.get('compiled', float('nan')):.2f} | {r.get('start_s', 0):.0f} "
            f"| {'never' if pays is None else f'{pays / 60:.0f} min'} |"
        )


if __name__ == "__main__":
    main()
