"""Known one-dimensional densities, as weighted by their quantiles, and a D trained on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.objectives.objective import TwoPlayer
from ganforge.spec import Batch

N = 1597  # a Fibonacci number: pairs (i, 987 i mod N) fill the square evenly
LEAP = 987


class Gauss:
    """N(mean, std^2), one number a point."""

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        self.mean, self.std = mean, std

    def quantiles(self, u: Tensor) -> Tensor:
        return self.mean + self.std * torch.special.ndtri(u)

    def density(self, x: Tensor) -> Tensor:
        z = (x - self.mean) / self.std
        return (-z.square() / 2).exp() / (self.std * math.sqrt(2 * math.pi))


def places(leap: int = 1) -> Tensor:
    """Evenly spread in (0, 1), in an order that pairs well with another leap's."""
    return ((torch.arange(N) * leap) % N).double().add(0.5).div(N)


class Fixed(nn.Module):
    """A generator whose samples are a density's quantiles."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(x, requires_grad=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.x


class Critic(nn.Module):
    """A smooth D on the line, in double precision."""

    def __init__(self, width: int = 16, activation: type[nn.Module] = nn.Tanh) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, width), activation(), nn.Linear(width, width), activation(),
            nn.Linear(width, 1),
        ).double()  # fmt: skip

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return {"score": self.net(x).squeeze(1)}

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)["score"]


class Bench:
    """A game at a fixed generator: p's quantiles against q's."""

    def __init__(
        self, game: TwoPlayer, p: Gauss, q: Gauss, critic: nn.Module | None = None
    ) -> None:
        torch.manual_seed(0)
        self.game, self.real = game, p.quantiles(places())[:, None]
        fake = Fixed(q.quantiles(places(LEAP))[:, None])
        self.nets = nn.ModuleDict({"G": fake, "D": critic or Critic()})

    @property
    def d(self) -> nn.Module:
        return self.nets["D"]

    def terms(self, player: int = 0) -> dict[str, Tensor]:
        """A player's terms; the same random numbers each time."""
        with draws.keyed(0, "theory", torch.arange(N)):
            return self.game.players()[player].loss(self.nets, Batch(self.real.clone()))

    def loss(self, player: int = 0) -> float:
        return sum(t.item() for t in self.terms(player).values())

    def gap(self) -> float:
        """E_p D - E_q D."""
        with torch.no_grad():
            return float(self.d(self.real).mean() - self.d(self.nets["G"].x).mean())

    def train(self, steps: int = 100) -> Bench:
        """D to its optimum, by L-BFGS on the whole density at once."""
        parameters = list(self.d.parameters())
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=steps, history_size=30, tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Tensor:
            total = torch.stack(list(self.terms().values())).sum()
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = torch.zeros_like(p) if g is None else g
            return total.detach()

        optimiser.step(closure)
        return self

    def descend(self, steps: int, rate: float = 0.02) -> Bench:
        """The same by Adam, for losses that are not smooth, from a D of the right sign."""
        if self.gap() < 0:
            with torch.no_grad():
                for p in list(self.d.parameters())[-2:]:
                    p.neg_()
        parameters = list(self.d.parameters())
        optimiser = torch.optim.Adam(parameters, rate, betas=(0.8, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            optimiser.zero_grad()
            torch.stack(list(self.terms().values())).sum().backward(inputs=parameters)
            optimiser.step()
            schedule.step()
            self.game.after_d(self.nets, {})
        return self
