"""Auxiliary classifier GAN in one file, to read and to run:
    python examples/oracle_acgan.py

Odena, Olah and Shlens 2016, Conditional Image Synthesis with Auxiliary Classifier GANs, arXiv
1610.09585.

D is not told the class, it says it: beside real or forged, which class.
    L_S = E log P(real | x) + E log P(forged | G(z, y))      what is real
    L_C = E log P(y | x) + E log P(y | G(z, y))              what is what
D maximises L_S + L_C, G maximises L_C - L_S. As for the first GAN, G's share of L_S is used in
its non-saturating form, log P(real | G(z, y)), unless `saturating`.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot, softplus

CLASSES = 3


def d_loss(D, G, real, y, z):
    (real_score, real_class), (fake_score, fake_class) = D(real), D(G(z, y).detach())
    source = softplus(-real_score).mean() + softplus(fake_score).mean()
    return source + cross_entropy(real_class, y) + cross_entropy(fake_class, y)


def g_loss(D, G, y, z, saturating=False):
    score, said = D(G(z, y))
    source = -softplus(score).mean() if saturating else softplus(-score).mean()
    return source + cross_entropy(said, y)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + CLASSES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def forward(self, z, y):
        return self.layers(torch.cat([z, one_hot(y, CLASSES).to(z.dtype)], 1))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)
        )
        self.score, self.classes = nn.Linear(64, 1), nn.Linear(64, CLASSES)

    def forward(self, x):
        features = self.trunk(x)
        return self.score(features).squeeze(1), self.classes(features)


def networks():
    """G: noise (N, 2), class (N,) -> samples (N, 2). D: samples -> scores (N,), class scores."""
    return Generator(), Discriminator()


def centres():
    angle = 2 * math.pi * torch.arange(CLASSES) / CLASSES
    return torch.stack([angle.cos(), angle.sin()], 1)


def data(y):
    """Class y is a cloud at angle y * 120 degrees, (n, 2)."""
    return centres()[y] + 0.1 * torch.randn(len(y), 2)


def main(turns=400, batch=256):
    torch.manual_seed(0)
    G, D = networks()
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        y = torch.randint(CLASSES, (batch,))
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                x = G(torch.randn(batch, 2), y)
            right = (torch.cdist(x, centres()).argmin(1) == y).float().mean()
            spread = torch.stack([x[y == k].std(0).mean() for k in range(CLASSES)]).mean()
            print(f"turn {turn:5d}  of the class asked for {100 * right:3.0f} %", end="")
            print(f"  spread within a class {spread:.2f} (data 0.10)")
        loss = d_loss(D, G, data(y), y, torch.randn(batch, 2))
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, y, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
