"""Least squares GAN in one file, to read and to run:
    python examples/oracle_lsgan.py

Mao et al. 2016, Least Squares Generative Adversarial Networks, arXiv 1611.04076.

D answers with a number: b for real, a for forged. G wants c.
    D: 1/2 E_x (D(x) - b)^2 + 1/2 E_z (D(G(z)) - a)^2        G: 1/2 E_z (D(G(z)) - c)^2
A forgery far on the wrong side still pulls: the gradient grows with the distance.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn


def d_loss(D, G, real, z, a=0.0, b=1.0):
    fake = G(z).detach()
    return ((D(real) - b) ** 2).mean() / 2 + ((D(fake) - a) ** 2).mean() / 2


def g_loss(D, G, z, c=1.0):
    return ((D(G(z)) - c) ** 2).mean() / 2


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


def main(turns=500, batch=256):
    torch.manual_seed(0)
    G, D = networks()
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                says = D(data(1000)).mean(), D(G(torch.randn(1000, 2))).mean()
            print(
                f"turn {turn:5d}  W1 {distance(G):.3f}  D(x) {says[0]:.2f}  D(G(z)) {says[1]:.2f}"
            )
        loss = d_loss(D, G, data(batch), torch.randn(batch, 2))
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
