"""A critic's gap is the Wasserstein distance, by WGAN's and WGAN-GP's own losses."""

from __future__ import annotations

import math

import pytest
import torch
from densities import Bench, Critic, Gauss
from torch import nn

from ganforge.objectives import make_objective
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import TwoPlayer
from ganforge.objectives.wgan_gp import WGANGP

P = Gauss()


def game_of(name: str, **options: float) -> TwoPlayer:
    game = make_objective(name, latent=Latent(1), **options)
    assert isinstance(game, TwoPlayer)
    return game


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0])
def test_gradient_penalty_measures_a_shift(m: float) -> None:
    """A slope s gains s m - lambda (s - 1)^2: the best is 1 + m / (2 lambda), so the gap is a
    little above W1 = m, by a known factor."""
    bench = Bench(game_of("wgan-gp"), P, Gauss(m)).descend(300)
    assert bench.gap() == pytest.approx(m * (1 + m / 20), rel=0.01)
    assert bench.gap() == pytest.approx(m, rel=0.11)


def test_gradient_penalty_measures_a_widening() -> None:
    """W1(N(0, 1), N(0, 2^2)) = sqrt(2 / pi), where D has to turn round at 0: a
    smooth one rounds the corner, at a slope below 1, and measures a little less."""
    game = game_of("wgan-gp", gp=0.1)
    assert isinstance(game, WGANGP)
    bench = Bench(game, P, Gauss(0, 2)).descend(100)  # a weak penalty lets slopes change sign
    game.gp = 10.0
    bench.descend(250)
    assert bench.gap() == pytest.approx(math.sqrt(2 / math.pi), rel=0.15)


def test_slopes_lie_near_one() -> None:
    bench = Bench(game_of("wgan-gp"), P, Gauss(1.0)).descend(300)
    x = torch.linspace(-1, 2, 30, dtype=torch.float64)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(bench.d(x).sum(), x)
    assert float((slope.abs() - 1.05).abs().max()) < 0.05


def test_clipped_critics_measure_up_to_a_factor() -> None:
    """Clipping bounds the slope by some K: the gap between two points is K |theta|, where the
    Jensen-Shannon divergence is ln 2 whatever theta is."""
    gaps = {}
    for theta in (0.5, 1.0, 2.0):
        game = game_of("wgan", clip=0.1)
        critic = Critic(8, nn.ReLU)
        bench = Bench(game, Gauss(0, 1e-6), Gauss(theta, 1e-6), critic)
        with torch.no_grad():  # all units alive, so that there is one optimum
            for p in list(critic.parameters())[:4]:
                p.abs_()
            list(critic.parameters())[4].abs_().neg_()
        bench.descend(60)
        gaps[theta] = bench.gap() / theta
        assert all(float(p.detach().abs().max()) <= 0.1 + 1e-9 for p in critic.parameters())
    assert gaps[0.5] == pytest.approx(gaps[1.0], rel=0.05)
    assert gaps[2.0] == pytest.approx(gaps[1.0], rel=0.05)
    assert gaps[1.0] == pytest.approx(8 * 8 * 0.1**3, rel=0.05)  # all weights at the bound


def test_jensen_shannon_does_not_see_how_far() -> None:
    """Apart, the classical D's loss tends to 0 for every distance; the gap tells them apart."""
    for theta in (1.0, 4.0):
        bench = Bench(game_of("gan"), Gauss(0, 1e-3), Gauss(theta, 1e-3)).train()
        assert bench.loss() < 0.01
