"""Pictures and their edges as two folders of pairs, for `pix2pix`.

    python examples/edges.py fashion-mnist-mini edges2garments
    ganforge train edges2garments/pictures --recipe pix2pix --set inputs=edges2garments/edges

Edges are where the gradient is steepest (Canny 1986, by OpenCV: pip install ganforge[restore]).
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ganforge.data import open_source


def edges(levels: np.ndarray) -> np.ndarray:
    """White lines on black, (H, W) uint8, of a picture (H, W)."""
    return cv2.Canny(levels, 100, 200)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", help="a source, as for ganforge train")
    parser.add_argument("out", type=Path, help="a new folder")
    a = parser.parse_args()
    if a.out.exists():
        parser.error(f"{a.out} exists; choose another folder")
    for split in ("train", "test"):
        data = open_source(a.data, split=split, channels=1)
        for kind in ("pictures", "edges"):
            (a.out / kind / split).mkdir(parents=True)
        for i in range(len(data)):
            levels = np.ascontiguousarray(data.raw(np.array([i]))[0, ..., 0])
            Image.fromarray(levels).save(a.out / "pictures" / split / f"{i:05d}.png")
            Image.fromarray(edges(levels)).save(a.out / "edges" / split / f"{i:05d}.png")
        print(f"{len(data)} pairs for {split}: {a.out}")


if __name__ == "__main__":
    main()
