"""The Dirac-GAN (Mescheder et al. 2018, arXiv 1801.04406): p = delta_0, q = delta_theta,
D(x) = psi x. Played by the package's own losses and penalties."""

from __future__ import annotations

import cmath
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganforge.objectives import make_objective, term
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import TwoPlayer
from ganforge.spec import Batch


class D(nn.Module):
    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi).double())

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return {"score": (self.psi * x).squeeze(1)}


class G(nn.Module):
    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta).double())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.theta.expand(len(z), 1)


def game_of(name: str, terms: dict[str, float], **options: Any) -> TwoPlayer:
    game = make_objective(name, latent=Latent(1), **options)
    assert isinstance(game, TwoPlayer)
    for key, weight in terms.items():
        game.add(term(key, weight))
    return game


def field(game: TwoPlayer, psi: float, theta: float) -> tuple[float, float]:
    """Down both players' gradients at once: (d psi, d theta)."""
    nets = nn.ModuleDict({"G": G(theta), "D": D(psi)})
    out = []
    for player, parameter in zip(game.movers(), (nets["D"].psi, nets["G"].theta), strict=True):
        terms = player.loss(nets, Batch(torch.zeros(1, 1).double()))
        total = torch.stack(list(terms.values())).sum()
        out.append(-torch.autograd.grad(total, parameter)[0].item())  # type: ignore[arg-type]
    return out[0], out[1]


def eigenvalues(game: TwoPlayer, h: float = 1e-5) -> list[complex]:
    """Of the linearised dynamics at the equilibrium (0, 0)."""
    columns = [np.subtract(field(game, *e), field(game, *(-np.array(e)))) / (2 * h)
               for e in ((h, 0.0), (0.0, h))]  # fmt: skip
    return sorted(np.linalg.eigvals(np.stack(columns, 1)), key=lambda v: (v.real, v.imag))


def predicted(gamma: float, slope: float = 0.5) -> list[complex]:
    root = cmath.sqrt(gamma**2 / 4 - slope**2)
    return sorted([-gamma / 2 + root, -gamma / 2 - root], key=lambda v: (v.real, v.imag))


@pytest.mark.parametrize(
    ("name", "terms", "options", "gamma"),
    [
        ("gan", {}, {}, 0.0),
        ("gan", {}, {"saturating": True}, 0.0),
        ("rpgan", {}, {"gamma": 0.0}, 0.0),  # pairing alone changes nothing
        ("gan", {"r1": 0.3}, {}, 0.3),
        ("gan", {"r2": 0.3}, {}, 0.3),
        ("gan", {"r1": 1.0}, {}, 1.0),  # critical: gamma = 2 |l'(0)|
        ("gan", {"r1": 3.0}, {}, 3.0),
        ("rpgan", {}, {"gamma": 0.2}, 0.4),  # R1 and R2 add up
    ],
)
def test_eigenvalues(name: str, terms: dict[str, float], options: Any, gamma: float) -> None:
    found, wanted = eigenvalues(game_of(name, terms, **options)), predicted(gamma)
    for a, b in zip(found, wanted, strict=True):
        # At the critical gamma both coincide, and rounding moves them by its root.
        assert abs(a - b) < (1e-2 if gamma == 1 else 1e-4)


def trajectory(game: TwoPlayer, h: float, steps: int, start: float = 0.01) -> list[float]:
    psi, theta = 0.0, start
    norms = [math.hypot(psi, theta)]
    for _ in range(steps):
        v = field(game, psi, theta)
        psi, theta = psi + h * v[0], theta + h * v[1]
        norms.append(math.hypot(psi, theta))
    return norms


def test_without_a_penalty_it_circles_outwards() -> None:
    """Each simultaneous step multiplies the norm by (1 + h^2 / 4)^(1/2)."""
    h = 0.2
    norms = trajectory(game_of("gan", {}), h, 100)
    for a, b in pairwise(norms):
        assert b / a == pytest.approx(math.sqrt(1 + h * h / 4), rel=1e-4)


@pytest.mark.parametrize("penalty", ["r1", "r2"])
def test_with_a_penalty_it_converges_at_the_predicted_rate(penalty: str) -> None:
    h, gamma, steps = 0.1, 0.4, 400
    norms = trajectory(game_of("gan", {penalty: gamma}), h, steps)
    step = max(abs(1 + h * v) for v in predicted(gamma))
    rate = (norms[-1] / norms[0]) ** (1 / steps)
    assert rate == pytest.approx(step, rel=5e-3)
    assert norms[-1] < 1e-3 * norms[0]


def test_from_afar() -> None:
    """Far from equilibrium the minimax game keeps its distance (in small steps), and the
    non-saturating one comes in, but ever more slowly; with R1 both arrive."""
    minimax = trajectory(game_of("gan", {}, saturating=True), 0.1, 300, start=1.0)
    assert minimax[-1] > 1.0
    usual = trajectory(game_of("gan", {}), 0.1, 300, start=1.0)
    assert 0.3 < usual[-1] < 1.0
    for options in ({}, {"saturating": True}):
        with_r1 = trajectory(game_of("gan", {"r1": 1.0}, **options), 0.1, 300, start=1.0)
        assert with_r1[-1] < 0.01
