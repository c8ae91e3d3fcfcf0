"""Conditional GAN in one file, to read and to run:
    python examples/oracle_cgan.py

Mirza and Osindero 2014, Conditional Generative Adversarial Nets, arXiv 1411.1784.

The first GAN's game in which both are told the class y: G makes a sample of that class, D
judges whether it is a real one of that class.
    D: - E log D(x, y) - E log(1 - D(G(z, y), y))        G: - E log D(G(z, y), y)

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math

import torch
from torch import nn
from torch.nn.functional import one_hot, softplus

CLASSES = 3


def d_loss(D, G, real, y, z):
    fake = G(z, y).detach()
    return softplus(-D(real, y)).mean() + softplus(D(fake, y)).mean()


def g_loss(D, G, y, z):
    return softplus(-D(G(z, y), y)).mean()


class Told(nn.Module):
    """A network whose input is joined by the class as a one-hot vector."""

    def __init__(self, inputs, outputs):
        super().__init__()
        hidden = nn.Linear(inputs + CLASSES, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64)
        self.layers = nn.Sequential(*hidden, nn.LeakyReLU(0.2), nn.Linear(64, outputs))

    def forward(self, x, y):
        out = self.layers(torch.cat([x, one_hot(y, CLASSES).to(x.dtype)], 1))
        return out.squeeze(1)


def networks():
    """G: noise (N, 2), class (N,) -> samples (N, 2). D: samples, class -> scores (N,)."""
    return Told(2, 2), Told(2, 1)


def data(y):
    """Class y is a cloud at angle y * 120 degrees, (n, 2)."""
    angle = 2 * math.pi * y / CLASSES
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(len(y), 2)


def accuracy(G):
    """The share of samples that lie nearest to the cloud they were asked for."""
    y = torch.arange(3000) % CLASSES
    angle = 2 * math.pi * torch.arange(CLASSES) / CLASSES
    centres = torch.stack([angle.cos(), angle.sin()], 1)
    with torch.no_grad():
        nearest = torch.cdist(G(torch.randn(3000, 2), y), centres).argmin(1)
    return (nearest == y).float().mean()


def main(turns=400, batch=256):
    torch.manual_seed(0)
    G, D = networks()
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            print(f"turn {turn:5d}  samples of the class asked for {100 * accuracy(G):.0f} %")
        y = torch.randint(CLASSES, (batch,))
        loss = d_loss(D, G, data(y), y, torch.randn(batch, 2))
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, y, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
