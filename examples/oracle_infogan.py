"""InfoGAN in one file, to read and to run:
    python examples/oracle_infogan.py

Chen et al. 2016, InfoGAN: Interpretable Representation Learning by Information Maximizing
Generative Adversarial Nets, arXiv 1606.03657.

Part of z is a code: one of four values, and a number from U(-1, 1). Q guesses the code from D's
features of the sample, and what it guesses right bounds the information that samples hold of it:
    I(c; G(z, c)) >= L_I = E log Q(c | G(z, c)) + H(c)
    min over G and Q, max over D:  V(D, G) - lambda L_I
D, and with it the features, moves for V alone.
Q is categorical for the first code and Gaussian for the second, with a variance of 0.01 or more.
(The entropies H(c) are constants, and left out of the losses.)

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot, softplus

NOISE, VALUES = 2, 4


def information(said, z, weight=1.0, weight_continuous=0.1):
    """- lambda E log Q(c | x)."""
    logits, mean, raw = said
    kind, number = z[:, NOISE : NOISE + VALUES].argmax(1), z[:, -1]
    variance = softplus(raw) + 0.01
    gaussian = ((number - mean) ** 2 / variance + variance.log() + math.log(2 * math.pi)) / 2
    return weight * cross_entropy(logits, kind) + weight_continuous * gaussian.mean()


def d_loss(D, G, real, z):
    return softplus(-D(real)[0]).mean() + softplus(D(G(z).detach())[0]).mean()


def g_loss(D, G, Q, z):
    score, features = D(G(z))
    return softplus(-score).mean() + information(Q(features), z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)
        )
        self.score = nn.Linear(64, 1)

    def forward(self, x):
        features = self.trunk(x)
        return self.score(features).squeeze(1), features


class Posterior(nn.Module):
    def __init__(self):
        super().__init__()
        self.kind, self.number = nn.Linear(64, VALUES), nn.Linear(64, 2)

    def forward(self, features):
        return self.kind(features), *self.number(features).unbind(1)


def networks():
    """G: (N, 2 + 4 + 1) -> samples (N, 2). D: samples -> scores (N,) and features (N, 64). Q:
    features -> class scores (N, 4), and mean and spread (N,) of the number."""
    hidden = nn.Linear(NOISE + VALUES + 1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(64, 2)), Discriminator(), Posterior()


def latents(n):
    """(noise, one of four, a number), (n, 7)."""
    kind = one_hot(torch.randint(VALUES, (n,)), VALUES)
    return torch.cat([torch.randn(n, NOISE), kind, torch.rand(n, 1) * 2 - 1], 1)


def data(n):
    """Four clouds that no one named, (n, 2)."""
    angle = 2 * math.pi * torch.randint(4, (n,)) / 4
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2)


def main(turns=500, batch=256):
    torch.manual_seed(0)
    G, D, Q = networks()
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam([*G.parameters(), *Q.parameters()], 1e-3, betas=(0.0, 0.9))
    for turn in range(turns + 1):
        if turn % (turns // 5) == 0:
            z = latents(2000)
            kind = z[:, NOISE : NOISE + VALUES].argmax(1)
            with torch.no_grad():
                x = G(z)
                found = math.log(VALUES) - cross_entropy(Q(D(x)[1])[0], kind)
            centres = [f"({a:.1f}, {b:.1f})" for a, b in (x[kind == k].mean(0) for k in range(4))]
            print(f"turn {turn:5d}  L_I {found:.2f} of {math.log(VALUES):.2f} nats;", end="")
            print("  each value makes", *centres)
        loss = d_loss(D, G, data(batch), latents(batch))
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, Q, latents(batch))
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
