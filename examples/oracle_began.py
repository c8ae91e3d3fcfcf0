"""Boundary equilibrium GAN in one file, to read and to run:
    python examples/oracle_began.py

Berthelot, Schumm and Metz 2017, BEGAN, arXiv 1703.10717.

D is an autoencoder; L(v) = mean |v - D(v)| is its error. k balances D's two tasks so that
E L(G(z)) stays gamma times E L(x):
    D: L(x) - k L(G(z))        G: L(G(z))
    k <- clip(k + lambda_k (gamma L(x) - L(G(z))), 0, 1)
The measure M = L(x) + |gamma L(x) - L(G(z))| falls as samples improve.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math
from itertools import pairwise

import torch
from torch import nn


def error(D, x):
    return (x - D(x)).abs().mean(1)


def d_loss(D, G, real, z, k):
    fake = G(z).detach()
    return error(D, real).mean() - k * error(D, fake).mean()


def g_loss(D, G, z):
    return error(D, G(z)).mean()


def next_k(k, real, fake, gamma=0.5, lambda_k=1e-3):
    """From the errors of reals (D's last move) and of forgeries (G's)."""
    return min(max(k + lambda_k * (gamma * real - fake), 0.0), 1.0)


def measure(real, fake, gamma=0.5):
    return real + abs(gamma * real - fake)


def networks():
    """G: noise (N, 1) -> samples (N, 8). D: samples -> samples, through a code of width 2."""

    def layers(*sizes):
        out = []
        for a, b in pairwise(sizes):
            out += [nn.Linear(a, b), nn.ELU()]
        return nn.Sequential(*out[:-1])

    return layers(2, 64, 64, 8), layers(8, 64, 2, 64, 8)


def data(n):
    """A wave of random phase, sampled at eight places, (n, 8)."""
    phase = 2 * math.pi * torch.rand(n, 1)
    return (2 * math.pi * torch.arange(8) / 8 + phase).sin() + 0.05 * torch.randn(n, 8)


def main(turns=1000, batch=64):
    torch.manual_seed(0)
    G, D = networks()
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.5, 0.999))
    k = 0.0
    for turn in range(turns + 1):
        real = data(batch)
        loss = d_loss(D, G, real, torch.randn(batch, 2), k)
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()
        with torch.no_grad():
            real_error, fake_error = error(D, real).mean().item(), loss.item()
        k = next_k(k, real_error, fake_error, lambda_k=1e-2)
        if turn % (turns // 5) == 0:
            m = measure(real_error, fake_error)
            with torch.no_grad():  # a wave plus itself half a period later is 0
                x = G(torch.randn(1000, 2))
            off = (x[:, :4] + x[:, 4:]).abs().mean()
            print(
                f"turn {turn:5d}  M {m:.3f}  k {k:.3f}  L(G)/L(x) {fake_error / real_error:.2f}",
                end="",
            )
            print(f"  off a wave by {off:.2f}")


if __name__ == "__main__":
    main()
