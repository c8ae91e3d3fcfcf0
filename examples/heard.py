"""Sounds as labelled spectrograms: real ones, and what runs make, a row each.

python examples/heard.py drums runs/wavegan-1 runs/specgan-1 --out heard.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import ganforge
from ganforge.data import open_source
from ganforge.gallery import Block, sheet
from ganforge.sounds import heard, rate_of


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", help="what the runs were trained on")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8, help="sounds a row")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rows: dict[str, torch.Tensor] = {}
    rate, length = 0, 0
    for place in args.runs:
        made = ganforge.load(place)
        sounds = heard(made.config, made.sample(args.count, seed=args.seed))
        rate, length = rate_of(made.config), sounds.shape[-1]
        rows[made.config["recipe"]] = sounds
    real = open_source(args.data, samples=length, rate=rate, slices=False, channels=1)
    few = np.linspace(0, len(real) - 1, args.count).round().astype(int)
    rows = {"real": real.real(few)} | rows
    title = f"{length / rate:.2f} s to the right, 0 to {rate / 2:,.0f} Hz upwards; loud is bright"
    block = Block(torch.cat(list(rows.values())), list(rows), [""] * args.count, title)
    sheet([block]).quantize(64).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
