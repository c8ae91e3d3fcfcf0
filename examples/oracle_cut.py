"""Contrastive unpaired translation in one file, to read and to run:
    python examples/oracle_cut.py

Park et al. 2020, Contrastive Learning for Unpaired Image-to-Image Translation, arXiv 2007.15651.

What G makes at a place has to resemble the source at that place more than at any other, by
vectors that H makes of G's own maps; D judges samples; least squares.
    D: 1/2 E (D(x) - 1)^2 + 1/2 E D(G(s))^2
    G, H: E (D(G(s)) - 1)^2 + nce/2 (PatchNCE(G(s), s) + PatchNCE(G(x), x))
    PatchNCE(made, of): cross-entropy of finding each place's own vector of `of` by its
        vector of `made`, among all places, at temperature tau; `of` is not moved

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize


def d_loss(D, G, real, source):
    fake = G(source).detach()
    return ((D(real) - 1) ** 2).mean() / 2 + (D(fake) ** 2).mean() / 2


def patch_nce(maps, H, made, of, tau=0.07):
    """`maps`: what G makes of samples on its way, a list of (N, C, H, W)."""
    total, found = 0.0, maps(made)
    for i, (query, key) in enumerate(zip(found, [m.detach() for m in maps(of)], strict=True)):
        q = normalize(H[i](query.flatten(2).transpose(1, 2)), dim=-1)
        k = normalize(H[i](key.flatten(2).transpose(1, 2)), dim=-1).detach()
        logits = q @ k.transpose(1, 2) / tau  # (N, places, places)
        places = torch.arange(logits.shape[1]).expand(len(logits), -1)
        total = total + cross_entropy(logits.flatten(0, 1), places.flatten())
    return total / len(found)


def g_loss(D, G, maps, H, real, source, nce=1.0, tau=0.07):
    fake = G(source)
    alike = patch_nce(maps, H, fake, source, tau) + patch_nce(maps, H, G(real), real, tau)
    return ((D(fake) - 1) ** 2).mean() + nce / 2 * alike


class Translator(nn.Module):
    """Pictures (N, 1, 8, 8) to pictures; `maps` are its input and its first layer's."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)

    def maps(self, x):
        return [x, self.first(x).relu()]

    def forward(self, x):
        return self.last(self.maps(x)[-1]).tanh()


def data(n):
    """Bright bars (samples) and dark bars (sources), in no order."""
    bars = -torch.ones(2, n, 1, 8, 8)
    for i in range(n):
        bars[0, i, 0, torch.randint(8, ()).item()] = 1.0
        bars[1, i, 0, torch.randint(8, ()).item()] = 0.0
    return bars[0], bars[1]


def main(turns=300, batch=32):
    torch.manual_seed(0)
    G = Translator()
    D = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4), nn.Flatten(0)
    )
    H = nn.ModuleList(
        nn.Sequential(nn.Linear(c, 32), nn.ReLU(), nn.Linear(32, 32)) for c in (1, 16)
    )
    opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.5, 0.9))
    opt_g = torch.optim.Adam([*G.parameters(), *H.parameters()], 1e-3, betas=(0.5, 0.9))
    for turn in range(turns + 1):
        x, s = data(batch)
        if turn % (turns // 5) == 0:
            kept = (G(s).sum(3).argmax(2) == s.sum(3).argmax(2)).float().mean()
            print(f"turn {turn:5d}  bars in their place {kept:.2f}  brightest {G(s).max():.2f}")
        loss = d_loss(D, G, x, s)
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(D, G, G.maps, H, x, s)
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
