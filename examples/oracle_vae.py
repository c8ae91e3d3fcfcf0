"""Variational autoencoder in one file, to read and to run:
    python examples/oracle_vae.py

Kingma and Welling 2013, Auto-Encoding Variational Bayes, arXiv 1312.6114.

E says where a sample's code may lie, q(z | x) = N(mean, std^2); G decodes a draw of it. Both
minimise a bound of the negative log-likelihood, here in nats for each component of x:
    - ELBO = - E_q log N(x; G(z), s^2) + KL(q(z | x) || N(0, I))
The decoder's variance s^2 follows its optimum, the mean squared error (Rybkin et al. 2020, arXiv
2006.13202).

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math

import torch
from torch import nn
from torch.nn.functional import softplus


def loss_of(E, G, real, noise, variance):
    """The bound, and the mean squared error."""
    mean, raw = E(real).chunk(2, 1)
    std = softplus(raw) + 1e-4
    error = ((real - G(mean + std * noise)) ** 2).mean()
    likelihood = -error / (2 * variance) - math.log(2 * math.pi * variance) / 2
    kl = (mean**2 + std**2 - 1 - 2 * std.log()).sum(1).mean() / 2
    return -likelihood + kl / real.shape[1], error


def networks(code=2):
    """E: samples (N, 2) -> (N, 2 code). G: codes -> samples."""
    e = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2 * code))
    return e, nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 2))


def data(n):
    """A noisy circle, (n, 2)."""
    angle = 2 * math.pi * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


def main(turns=1500, batch=256):
    torch.manual_seed(0)
    E, G = networks()
    opt = torch.optim.Adam([*E.parameters(), *G.parameters()], 3e-3)
    variance = 0.01  # small at first: else nothing is worth encoding
    for turn in range(turns + 1):
        loss, error = loss_of(E, G, data(batch), torch.randn(batch, 2), variance)
        opt.zero_grad(), loss.backward(), opt.step()
        variance += 0.005 * (error.item() - variance)
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                x = G(torch.randn(1000, 2))
            off = (x.norm(dim=1) - 1).abs().mean()
            print(f"turn {turn:5d}  bound {loss:.3f} nats  decoder's deviation", end="")
            print(f" {variance**0.5:.2f}  samples off the circle by {off:.2f}")


if __name__ == "__main__":
    main()
