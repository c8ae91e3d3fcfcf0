"""On known densities a trained D meets what theory says, by the package's own losses.

The constants are quadratures to six digits; see docs for the statements.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from densities import Bench, Critic, Gauss

from ganforge.objectives import make_objective
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import TwoPlayer

P = Gauss()
#             q: V(D*), LSGAN's integral of pq/(p+q), hinge minimum, RpGAN minimum
TABLE = {
    (0.0, 1.0): (-1.386294, 0.500000, 2.0, 0.693147),
    (0.5, 1.0): (-1.325672, 0.470527, 1.605175, 0.634269),
    (1.0, 1.0): (-1.163451, 0.397973, 1.234150, 0.491802),
    (2.0, 1.0): (-0.712633, 0.224800, 0.634621, 0.193075),
    (0.0, 2.0): (-1.200828, 0.420009, 1.354651, None),
}
JSD = {(0.5, 1.0): 0.030311, (1.0, 1.0): 0.111421, (2.0, 1.0): 0.336831, (0.0, 2.0): 0.092733}
GRID = torch.linspace(-2, 2.5, 50, dtype=torch.float64)


def bench(name: str, q: tuple[float, float], **options: Any) -> Bench:
    game = make_objective(name, latent=Latent(1), **options)
    assert isinstance(game, TwoPlayer)
    return Bench(game, P, Gauss(*q))


@pytest.mark.parametrize("q", TABLE)
def test_gan(q: tuple[float, float]) -> None:
    """D* = p / (p + q), and V(D*) = -log 4 + 2 JSD(p || q)."""
    trained = bench("gan", q).train()
    p, other = P.density(GRID), Gauss(*q).density(GRID)
    found = trained.d(GRID[:, None]).detach().sigmoid()
    assert float((found - p / (p + other)).abs().max()) < 0.02
    v = -trained.loss()
    assert v == pytest.approx(TABLE[q][0], abs=2e-3)
    if q in JSD:
        assert v == pytest.approx(-math.log(4) + 2 * JSD[q], abs=2e-3)


@pytest.mark.parametrize("q", TABLE)
def test_lsgan(q: tuple[float, float]) -> None:
    """D* = (b p + a q) / (p + q); with 0 / 1 coding its loss is 1/2 int p q / (p + q)."""
    trained = bench("lsgan", q).train()
    p, other = P.density(GRID), Gauss(*q).density(GRID)
    found = trained.d(GRID[:, None]).detach()
    assert float((found - p / (p + other)).abs().max()) < 0.02
    assert trained.loss() == pytest.approx(TABLE[q][1] / 2, abs=1e-3)


def test_lsgan_generator_sees_pearsons_chi_squared() -> None:
    """With (a, b, c) = (-1, 1, 0): E_p (D* - c)^2 + E_q (D* - c)^2 = chi^2(p + q || 2 q)."""
    trained = bench("lsgan", (1.0, 1.0), a=-1.0, b=1.0, c=0.0).train()
    over_q = 2 * trained.loss(player=1)
    trained.nets["G"].x.data = trained.real  # type: ignore[union-attr]
    assert over_q + 2 * trained.loss(player=1) == pytest.approx(0.408109, abs=3e-3)


@pytest.mark.parametrize("q", [(0.0, 1.0), (1.0, 1.0), (0.0, 2.0)])
def test_hinge(q: tuple[float, float]) -> None:
    """D* = sign(p - q), and its loss is 2 (1 - TV)."""
    trained = bench("hinge", q).train(200)
    assert trained.loss() == pytest.approx(TABLE[q][2], abs=0.02)
    if q[0] >= 1:
        x = torch.tensor([[-1.0], [q[0] + 1]], dtype=torch.float64)
        assert trained.d(x).sign().tolist() == [1, -1]


@pytest.mark.parametrize("q", [q for q in TABLE if TABLE[q][3] is not None])
def test_rpgan(q: tuple[float, float]) -> None:
    """D* = log p / q + a constant, and the loss ln 2 - JSD(p x q || q x p)."""
    trained = bench("rpgan", q, gamma=0.0).train()
    assert trained.loss() == pytest.approx(TABLE[q][3], abs=5e-3)
    x = torch.linspace(-0.75, q[0] + 0.75, 30, dtype=torch.float64)  # where both have samples
    found = trained.d(x[:, None]).detach()
    ratio = P.density(x).log() - Gauss(*q).density(x).log()
    off = (found - found.mean()) - (ratio - ratio.mean())
    assert float(off.abs().max()) < 0.25


def test_any_other_d_is_worse() -> None:
    """The dual bound: whatever D says, its loss is no less than the optimum's."""
    for name, column, scale in (("gan", 0, -1.0), ("lsgan", 1, 0.5), ("hinge", 2, 1.0)):
        for q in TABLE:
            game = bench(name, q)
            for trial in range(5):
                torch.manual_seed(trial)
                game.nets["D"] = Critic(8)
                with torch.no_grad():
                    for p in game.nets["D"].parameters():
                        p.mul_(3)
                assert game.loss() >= scale * TABLE[q][column] - 1e-3


def test_when_the_generator_has_won() -> None:
    """At p = q: D(x) = D(G(z)) = 1/2, D's loss 2 ln 2, the non-saturating G's ln 2."""
    won = bench("gan", (0.0, 1.0)).train()
    said = won.d(won.nets["G"].x).detach().sigmoid()  # type: ignore[arg-type]
    assert float((said - 0.5).abs().max()) < 0.02
    assert won.loss() == pytest.approx(2 * math.log(2), abs=1e-3)
    assert won.loss(player=1) == pytest.approx(math.log(2), abs=1e-2)
    relativistic = bench("rpgan", (0.0, 1.0)).train()
    assert relativistic.loss(player=1) == pytest.approx(math.log(2), abs=1e-2)
