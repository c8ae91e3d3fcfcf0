"""CycleGAN in one file, to read and to run:
    python examples/oracle_cyclegan.py

Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks, arXiv 1703.10593. Here samples are points; no pairs are known.

G leads from sources s to samples x, F back; D judges samples, E sources; least squares.
    D, E: 1/2 E (D(x) - 1)^2 + 1/2 E D(G(s))^2 + 1/2 E (E(s) - 1)^2 + 1/2 E E(F(x))^2
    G, F: E (D(G(s)) - 1)^2 + E (E(F(x)) - 1)^2
          + cycle (E |F(G(s)) - s| + E |G(F(x)) - x|)
          + identity cycle (E |G(x) - x| + E |F(s) - s|)

It imports nothing of ganforge: ganforge's losses and gradients are tested against it.
"""

import torch
from torch import nn


def d_loss(nets, real, source):
    G, F, D, E = nets
    fake_x, fake_s = G(source).detach(), F(real).detach()
    of_d = ((D(real) - 1) ** 2).mean() / 2 + (D(fake_x) ** 2).mean() / 2
    return of_d + ((E(source) - 1) ** 2).mean() / 2 + (E(fake_s) ** 2).mean() / 2


def g_loss(nets, real, source, cycle=10.0, identity=0.5):
    G, F, D, E = nets
    x, s = G(source), F(real)
    adversary = ((D(x) - 1) ** 2).mean() + ((E(s) - 1) ** 2).mean()
    there_and_back = (F(x) - source).abs().mean() + (G(s) - real).abs().mean()
    same = (G(real) - real).abs().mean() + (F(source) - source).abs().mean()
    return adversary + cycle * there_and_back + identity * cycle * same


def networks():
    """G, F: (N, 2) -> (N, 2). D, E: (N, 2) -> scores (N,)."""

    def net(outputs):
        return [nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
                nn.Linear(64, outputs)]  # fmt: skip

    translators = [nn.Sequential(*net(2)) for _ in range(2)]
    return [*translators, *(nn.Sequential(*net(1), nn.Flatten(0)) for _ in range(2))]


def data(n):
    """Samples about (1, 0) and sources about (-1, 0), in no order."""
    centre = torch.tensor([1.0, 0.0])
    return centre + 0.3 * torch.randn(n, 2), -centre + 0.3 * torch.randn(n, 2)


def main(turns=500, batch=128):
    torch.manual_seed(0)
    nets = networks()
    opt_d = torch.optim.Adam([*nets[2].parameters(), *nets[3].parameters()], 1e-3, betas=(0.5, 0.9))
    opt_g = torch.optim.Adam([*nets[0].parameters(), *nets[1].parameters()], 1e-3, betas=(0.5, 0.9))
    for turn in range(turns + 1):
        x, s = data(batch)
        if turn % (turns // 5) == 0:
            with torch.no_grad():
                made = nets[0](s)
                error = (nets[1](made) - s).abs().mean()
            print(f"turn {turn:5d}  mean of G(s) {made.mean(0).tolist()}  cycle error {error:.3f}")
        loss = d_loss(nets, x, s)
        opt_d.zero_grad(), loss.backward(), opt_d.step()
        loss = g_loss(nets, x, s)
        opt_g.zero_grad(), loss.backward(), opt_g.step()


if __name__ == "__main__":
    main()
