"""Energy-based GAN in one file, to read and to run:
    python examples/oracle_ebgan.py

Zhao, Mathieu and LeCun 2016, Energy-based Generative Adversarial Network, arXiv 1609.03126.

D is an autoencoder, and a sample's energy how far it comes back from where it was:
    D(x) = ||Dec(Enc(x)) - x||
    D: E_x D(x) + E_z max(0, m - D(G(z)))
    G: E_z D(G(z)) + weight f_PT,   f_PT = 1 / (N (N - 1)) sum over i != j of cos^2(S_i, S_j)
The pulling-away term f_PT of the codes S = Enc(G(z)) keeps the samples of a batch apart.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math

import torch
from torch import nn
from torch.nn.functional import cosine_similarity


def energy(D, x):
    return ((D.decode(D.encode(x)) - x) ** 2).sum(1).sqrt()


def pulling_away(s):
    n, total = len(s), 0
    for i in range(n):
        cosine = cosine_similarity(s[i : i + 1], s)
        total = total + (cosine**2).sum() - cosine[i] ** 2
    return total / (n * (n - 1))


def d_loss(D, G, real, z, margin=1.0):
    fake = G(z).detach()
    return energy(D, real).mean() + (margin - energy(D, fake)).clamp(min=0).mean()


def g_loss(D, G, z, weight=0.0):
    fake = G(z)
    loss = energy(D, fake).mean()
    return loss + weight * pulling_away(D.encode(fake)) if weight else loss


class Autoencoder(nn.Module):
    def __init__(self, code=4):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, code))
        self.decode = nn.Sequential(nn.Linear(code, 64), nn.Tanh(), nn.Linear(64, 2))


def networks():
    """G: noise (N, 2) -> samples (N, 2). D: an autoencoder of samples."""
    hidden = nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(64, 2)), Autoencoder()


def data(n):
    """A noisy circle, (n, 2)."""
    angle = 2 * math.pi * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


def main(turns=800, batch=64):
    torch.manual_seed(0)
    G, D = networks()
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                x = G(torch.randn(1000, 2))
                off = (x.norm(dim=1) - 1).abs().mean()
                energies = energy(D, data(1000)).mean(), energy(D, x).mean()
            print(f"turn {turn:5d}  off the circle by {off:.2f}", end="")
            print(f"  energy of reals {energies[0]:.2f}, of forgeries {energies[1]:.2f}")
        loss = d_loss(D, G, data(batch), torch.randn(batch, 2))
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, torch.randn(batch, 2))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
