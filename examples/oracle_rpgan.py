"""Relativistic pairs with R1 and R2 (R3GAN) in one file, to read and to run:
    python examples/oracle_rpgan.py

Jolicoeur-Martineau 2018, arXiv 1807.00734; Huang et al. 2024, The GAN is dead; long live the
GAN!, arXiv 2501.05441.

D says which of a pair is more real; its slope is penalised at real and at forged samples:
    D: E softplus(D(G(z)) - D(x)) + gamma/2 (E_x ||grad D(x)||^2 + E_z ||grad D(G(z))||^2)
    G: E softplus(D(x) - D(G(z)))
A score means something only beside another one: D(x) + constant plays the same game.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn
from torch.nn.functional import softplus


def penalty(D, x):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return (gradient**2).sum(1).mean()


def d_loss(D, G, real, z, gamma=1.0):
    fake = G(z).detach()
    pairs = softplus(D(fake) - D(real)).mean()
    return pairs + gamma / 2 * (penalty(D, real) + penalty(D, fake))


def g_loss(D, G, real, z):
    return softplus(D(real) - D(G(z))).mean()


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
                won = (D(data(1000)) - D(G(torch.randn(1000, 2)))).sigmoid().mean()
            print(f"turn {turn:5d}  W1 {distance(G):.3f}  P(real is judged more real) {won:.2f}")
        loss = d_loss(D, G, data(batch), torch.randn(batch, 2), gamma=0.1)
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, data(batch), torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
