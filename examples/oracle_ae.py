"""An autoencoder as a generator, in one file, to read and to run:
    python examples/oracle_ae.py

Hinton and Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks, Science
313; sampled as by Ghosh et al. 2019, arXiv 1903.12436.

No adversary: E and G together minimise the mean error E |x - G(E(x))|. Samples decode codes from
the Gaussian with the mean and covariance of the training codes.

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math

import torch
from torch import nn


def loss_of(E, G, real):
    return (real - G(E(real))).abs().mean()


def sample(G, codes, z):
    """Codes (M, K) of training samples and noise (N, K) -> samples (N, D)."""
    mean = codes.mean(0)
    covariance = (codes - mean).T @ (codes - mean) / len(codes)
    return G(mean + z @ torch.linalg.cholesky(covariance).T)


def networks(code=2):
    """E: samples (N, 2) -> codes. G: codes -> samples."""
    e = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, code))
    return e, nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 2))


def data(n):
    """A noisy circle, (n, 2)."""
    angle = 2 * math.pi * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


def main(turns=500, batch=256):
    torch.manual_seed(0)
    E, G = networks()
    opt = torch.optim.Adam([*E.parameters(), *G.parameters()], 1e-3)
    for turn in range(turns + 1):
        real = data(batch)
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                error = loss_of(E, G, real)
                x = sample(G, E(data(1000)), torch.randn(1000, 2))
            off = (x.norm(dim=1) - 1).abs().mean()
            print(f"turn {turn:5d}  error {error:.3f}  samples off the circle by {off:.2f}")
        loss = loss_of(E, G, real)
        opt.zero_grad(), loss.backward(), opt.step()
    print("It copies well, and its samples fill the circle: a Gaussian of codes has no hole.")


if __name__ == "__main__":
    main()
