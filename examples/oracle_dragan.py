"""DRAGAN in one file, to read and to run:
    python examples/oracle_dragan.py

Kodali et al. 2017, On Convergence and Stability of GANs, arXiv 1705.07215.

The first GAN's losses, and D's slope is asked to be k in a cloud around the data alone:
    D: ... + lambda E_x,delta (||grad D(x + delta)||_2 - k)^2,  delta = 1/2 std(x) U(0, 1)

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn
from torch.nn.functional import softplus


def d_loss(D, G, real, z, u, weight=10.0, k=1.0):
    fake = G(z).detach()
    x = (real + 0.5 * real.std(correction=0) * u).requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    penalty = ((gradient.norm(dim=1) - k) ** 2).mean()
    return softplus(-D(real)).mean() + softplus(D(fake)).mean() + weight * penalty


def g_loss(D, G, z):
    return softplus(-D(G(z))).mean()


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


def main(turns=600, batch=256):
    torch.manual_seed(0)
    G, D = networks()
    # With lambda 10 a slope of k turns round slowly, for it may not pass 0: G overshoots.
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(G.parameters(), 2e-4, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                says = D(data(1000)).sigmoid().mean(), D(G(torch.randn(1000, 2))).sigmoid().mean()
            print(
                f"turn {turn:5d}  W1 {distance(G):.3f}  D(x) {says[0]:.2f}  D(G(z)) {says[1]:.2f}"
            )
        loss = d_loss(D, G, data(batch), torch.randn(batch, 2), torch.rand(batch, 2), weight=1.0)
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
