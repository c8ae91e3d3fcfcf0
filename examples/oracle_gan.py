"""The first GAN in one file, to read and to run:
    python examples/oracle_gan.py

Goodfellow et al. 2014, Generative Adversarial Nets, arXiv 1406.2661.

D is trained to tell real from forged: it minimises
    - E_x log D(x) - E_z log(1 - D(G(z))).
G is trained to be taken for real. In the minimax game it minimises E_z log(1 - D(G(z))),
whose gradient vanishes while D is sure; the non-saturating form maximises E_z log D(G(z)).
D(x) is the sigmoid of a score s, so -log D = softplus(-s) and -log(1 - D) = softplus(s).

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn
from torch.nn.functional import softplus


def d_loss(D, G, real, z):
    fake = G(z).detach()
    return softplus(-D(real)).mean() + softplus(D(fake)).mean()


def g_loss(D, G, z, saturating=False):
    score = D(G(z))
    return -softplus(score).mean() if saturating else softplus(-score).mean()


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
                says = D(data(1000)).sigmoid().mean(), D(G(torch.randn(1000, 2))).sigmoid().mean()
            print(
                f"turn {turn:5d}  W1 {distance(G):.3f}  D(x) {says[0]:.2f}  D(G(z)) {says[1]:.2f}"
            )
        loss = d_loss(D, G, data(batch), torch.randn(batch, 2))
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
