"""Wasserstein GAN with gradient penalty in one file, to read and to run:
    python examples/oracle_wgan_gp.py

Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv 1704.00028, Algorithm 1.

D's slope is held near 1 by a penalty, at random points between real and forged samples:
    D: E_z D(G(z)) - E_x D(x) + lambda E (||grad D(x^)||_2 - 1)^2,  x^ = e x + (1 - e) G(z)
    G: - E_z D(G(z))
D's gap then measures the Wasserstein distance (a little above it, for the penalty is soft).

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn


def d_loss(D, G, real, z, e, weight=10.0):
    fake = G(z).detach()
    x = (e[:, None] * real + (1 - e[:, None]) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    penalty = ((gradient.norm(dim=1) - 1) ** 2).mean()
    return D(fake).mean() - D(real).mean() + weight * penalty


def g_loss(D, G, z):
    return -D(G(z)).mean()


def networks():
    """G: noise (N, 2) -> samples (N, 2). D: samples -> scores (N,)."""
    g = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    d = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
    return g, nn.Sequential(d, nn.Linear(64, 1), nn.Flatten(0))


def data(n):
    """Samples of a round Gaussian at (2, 0), (n, 2)."""
    return torch.tensor([2.0, 0.0]) + 0.5 * torch.randn(n, 2)


def distance(G):
    """The Wasserstein distance of G's samples from the data along each axis, their mean."""
    with torch.no_grad():
        return (G(torch.randn(4000, 2)).sort(0).values - data(4000).sort(0).values).abs().mean()


def main(turns=400, batch=256):
    torch.manual_seed(0)
    G, D = networks()
    # With lambda 10 a slope of 1 turns round slowly, for it may not pass 0: G overshoots.
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(G.parameters(), 2e-4, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                gap = D(data(4000)).mean() - D(G(torch.randn(4000, 2))).mean()
            print(f"turn {turn:5d}  W1 {distance(G):.3f}  critic's gap {gap:.3f}")
        for _ in range(5):
            loss = d_loss(D, G, data(batch), torch.randn(batch, 2), torch.rand(batch), weight=1.0)
            opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
