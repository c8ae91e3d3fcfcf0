"""Wasserstein GAN in one file, to read and to run:
    python examples/oracle_wgan.py

Arjovsky, Chintala and Bottou 2017, Wasserstein GAN, arXiv 1701.07875.

Over all functions of slope 1 or less, the largest E_x D(x) - E_z D(G(z)) is the Wasserstein
distance. D ascends it; its weights are clipped to [-c, c] after each step, which bounds its
slope. G descends it, after five steps of D. (A larger c and rate than the paper's .01 and
5e-5 make this small example quick.)

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn


def d_loss(D, G, real, z):
    fake = G(z).detach()
    return D(fake).mean() - D(real).mean()


def g_loss(D, G, z):
    return -D(G(z)).mean()


@torch.no_grad()
def clip(D, c=0.01):
    for w in D.parameters():
        w.clamp_(-c, c)


def networks():
    """G: noise (N, 2) -> samples (N, 1). D: samples -> scores (N,)."""
    g = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    d = nn.Sequential(nn.Linear(1, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
    return g, nn.Sequential(d, nn.Linear(64, 1), nn.Flatten(0))


def data(n):
    """Samples of N(2, 0.5^2), (n, 1)."""
    return 2 + 0.5 * torch.randn(n, 1)


def distance(G):
    """The Wasserstein distance of G's samples from the data, exact in one dimension."""
    with torch.no_grad():
        return (G(torch.randn(4000, 2)).sort(0).values - data(4000).sort(0).values).abs().mean()


def main(turns=300, batch=256):
    torch.manual_seed(0)
    G, D = networks()
    opt_d = torch.optim.RMSprop(D.parameters(), 5e-4)
    opt_g = torch.optim.RMSprop(G.parameters(), 5e-4)
    clip(D, 0.1)
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                gap = D(data(1000)).mean() - D(G(torch.randn(1000, 2))).mean()
            print(f"turn {turn:5d}  W1 {distance(G):.3f}  critic's gap {gap:.4f}")
        for _ in range(5):
            loss = d_loss(D, G, data(batch), torch.randn(batch, 2))
            opt_d.zero_grad(), loss.backward(), opt_d.step()
            clip(D, 0.1)
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
