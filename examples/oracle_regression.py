"""Translation without an adversary in one file, to read and to run:
    python examples/oracle_regression.py

Ledig et al. 2016, Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
Network, arXiv 1609.04802: its first stage; the mean absolute error as in Isola et al. 2016,
arXiv 1611.07004.

    G: l1 E |x - G(s)|, x being the sample that belongs to the source s

Where several samples fit one source, G answers with their median: blur.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn


def g_loss(G, real, source, l1=1.0):
    return l1 * (real - G(source)).abs().mean()


def network():
    """G: sources (N, 2) -> samples (N, 2)."""
    return nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )


def data(n):
    """Points of a ring, and the same points with noise."""
    angle = torch.rand(n, 1) * 2 * torch.pi
    x = torch.cat([angle.cos(), angle.sin()], 1)
    return x, x + 0.3 * torch.randn(n, 2)


def main(turns=500, batch=256):
    torch.manual_seed(0)
    G = network()
    opt = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.9, 0.99))
    for turn in range(turns + 1):
        x, s = data(batch)
        if turn % (turns // 5) == 0:
            print(
                f"turn {turn:5d}  |x - G(s)| {g_loss(G, x, s):.3f}  |x - s| {(x - s).abs().mean():.3f}"
            )
        loss = g_loss(G, x, s)
        opt.zero_grad(), loss.backward(), opt.step()


if __name__ == "__main__":
    main()
