"""The training step. It knows players and terms; it knows no paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.data.shuffle import Order, Shuffle
from ganforge.objectives.objective import Objective, Player, Terms
from ganforge.spec import Batch
from ganforge.training.distributed import World, average, average_gradients, broadcast
from ganforge.training.ema import Ema


class Source(Protocol):
    """Where the real samples come from: see ganforge.data."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch: ...


@dataclass
class Turn:
    """What one turn did: each mover's terms, and where asked for, what to watch.

    Attributes:
        terms: "PLAYER/TERM" to a detached scalar, averaged over processes.
        readings: name to per-sample values (N,) of the first player's last move.
        gradients: player to the norm of its gradient.
    """

    terms: Terms = field(default_factory=dict)
    readings: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, float] = field(default_factory=dict)

    def non_finite(self) -> list[str]:
        """The names of the terms that are NaN or infinite."""
        return [k for k, v in self.terms.items() if not math.isfinite(v.item())]


class Trainer:
    """Turns of a game.

    Time is counted in samples: `drawn` is the position in the endless shuffled stream of
    samples and keys every random draw, `images` counts those of the first player's moves.

    Args:
        objective: the game.
        nets: its networks, on the device.
        optimisers: player name to its optimiser, over that player's parameters.
        data: where real samples come from.
        batch_size: samples of a move, over all processes.
        seed: keys the order of the samples and every draw.
        horizon: images over which schedules run; None keeps every rate constant.
        rate_end: the rates' final value as a share of the initial one, by a cosine.
        ema: half-life in images of the sampled networks' average.
        clip: bound of each gradient component, or None.
        warmup: images before the game begins; see `Objective.warming`.
        precision: torch.bfloat16 for autocast, or None.
    """

    def __init__(
        self,
        objective: Objective,
        nets: nn.ModuleDict,
        optimisers: Mapping[str, torch.optim.Optimizer],
        data: Source,
        *,
        batch_size: int,
        seed: int = 0,
        horizon: int | None = None,
        rate_end: float = 1.0,
        ema: float = 10_000,
        ema_ramp: float = 0.05,
        clip: float | None = None,
        warmup: int = 0,
        precision: torch.dtype | None = None,
        world: World | None = None,
    ) -> None:
        self.objective, self.nets, self.optimisers = objective, nets, dict(optimisers)
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.horizon, self.rate_end, self.clip, self.precision = horizon, rate_end, clip, precision
        self.warmup = warmup
        self.world = world or World()
        self.players = objective.movers()
        self.shuffle = order(data, seed, batch_size)
        sampled = nn.ModuleDict({k: nets[k] for k in objective.sampled})
        self.ema = Ema(sampled, ema, ema_ramp)
        self.step = self.images = self.drawn = 0
        self.rate_scale = 1.0
        self._bases = {k: [g["lr"] for g in o.param_groups] for k, o in self.optimisers.items()}
        self._owned = {p.name: owned(nets, p) for p in self.players}
        self._device = next(nets.parameters()).device
        nets.requires_grad_(False)
        broadcast([*nets.parameters(), *nets.buffers()])

    # -- one turn -----------------------------------------------------------------------
    def turn(self, watch: bool = False) -> Turn:
        """Every player's moves, each on a fresh batch. `watch` also measures readings and
        gradient norms, which cost a little and change nothing."""
        done, before = Turn(), self.images
        self.set_rates()
        for player in self.movers():
            if self.step % player.every == 0:
                for _ in range(player.steps):
                    self.move(player, done, watch)
        self.ema.update(self.images - before, self.images)
        self.step += 1
        return done

    def movers(self) -> list[Player]:
        """Who takes part now, in order; the first one's samples are counted."""
        return [p for p in self.players if self.objective.moves(p)]

    def move(self, player: Player, done: Turn, watch: bool) -> None:
        """One player moves its networks down its loss; all others are frozen."""
        parameters = self._owned[player.name]
        batch, index = self.fresh_batch(player)
        for p in parameters:
            p.requires_grad_(True)
        with draws.keyed(self.seed, f"move/{player.name}", index), self._autocast():
            terms = player.loss(self.nets, batch)
        torch.autograd.backward(sum(terms.values(), torch.zeros(())), inputs=parameters)
        average_gradients(parameters)
        if self.clip is not None:
            nn.utils.clip_grad_value_(parameters, self.clip)
        if watch:
            grads = [p.grad for p in parameters if p.grad is not None]
            done.gradients[player.name] = nn.utils.get_total_norm(grads).item() if grads else 0.0
            done.readings |= self.objective.watched(batch) if player is self.movers()[0] else {}
        self.optimisers[player.name].step()
        for p in parameters:
            p.grad = None
            p.requires_grad_(False)
        terms = average(terms)
        if player.after is not None:
            player.after(self.nets, terms)
        done.terms |= {f"{player.name}/{k}": v for k, v in terms.items()}

    def fresh_batch(self, player: Player) -> tuple[Batch, Tensor]:
        """The next samples of the stream (this process's share), and their numbers (N,)."""
        low, high = self.world.share(self.batch_size)
        index = torch.arange(self.drawn + low, self.drawn + high)
        with draws.keyed(self.seed, "data", index):
            batch = self.data.batch(self.shuffle.at(self.drawn + low, high - low))
        # For modules that draw from torch's own generator; ours draw from ganforge.draws.
        self._seed_torch(self.drawn + low)
        self.drawn += self.batch_size
        if player is self.movers()[0]:
            self.images += self.batch_size
        return to_device(batch, self._device), index.to(self._device)

    def _seed_torch(self, position: int) -> None:
        # torch.manual_seed records a stack trace for each accelerator that is not in use.
        seed = draws.key(self.seed, "torch") + position
        torch.default_generator.manual_seed(seed)
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self._device.type == "mps":
            torch.mps.manual_seed(seed)

    # -- schedules ----------------------------------------------------------------------
    @property
    def progress(self) -> float:
        """The share of the horizon that is done, in [0, 1]."""
        return min(1.0, self.images / self.horizon) if self.horizon else 0.0

    def set_rates(self) -> None:
        """Rates and `objective.progress` are functions of the images seen."""
        self.objective.progress = t = self.progress
        self.objective.warming = self.images < self.warmup
        factor = self.rate_end + (1 - self.rate_end) * (1 + math.cos(math.pi * t)) / 2
        for name, optimiser in self.optimisers.items():
            for base, group in zip(self._bases[name], optimiser.param_groups, strict=True):
                group["lr"] = base * factor * self.rate_scale

    def _autocast(self) -> torch.autocast:
        kind = self._device.type
        return torch.autocast(kind, self.precision, enabled=self.precision is not None)

    # -- state --------------------------------------------------------------------------
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that a resume needs, by file."""
        objective = {f"objective.{k}": v for k, v in self.objective.state_dict().items()}
        return {
            "networks": self.nets.state_dict() | objective,
            "ema": self.ema.nets.state_dict(),
            "optimisers": {
                f"{name}/{i}/{k}": v
                for name, o in self.optimisers.items()
                for i, slots in o.state_dict()["state"].items()
                for k, v in slots.items()
            },
        }

    def numbers(self) -> dict[str, Any]:
        """The counters; every random draw is a function of them."""
        return {
            "step": self.step,
            "images": self.images,
            "drawn": self.drawn,
            "rate_scale": self.rate_scale,
        }

    def restore(
        self, tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any]
    ) -> None:
        """Go to exactly the state that `tensors()` and `numbers()` described."""
        mark = "objective."
        saved = tensors["networks"]
        self.objective.load_state_dict(
            {k[len(mark) :]: v for k, v in saved.items() if k.startswith(mark)}
        )
        self.nets.load_state_dict({k: v for k, v in saved.items() if not k.startswith(mark)})
        self.ema.nets.load_state_dict(dict(tensors["ema"]))
        for name, o in self.optimisers.items():
            moved = self._owned[name]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors["optimisers"].items():
                player, i, slot = key.split("/")
                if player == name:
                    state.setdefault(int(i), {})[slot] = _laid_out_as(moved[int(i)], value)
            o.load_state_dict({"state": state, "param_groups": o.state_dict()["param_groups"]})
        self.step, self.images = int(numbers["step"]), int(numbers["images"])
        self.drawn, self.rate_scale = int(numbers["drawn"]), float(numbers["rate_scale"])


def order(data: Source, seed: int, batch_size: int) -> Order:
    """The data's own order where they have one, else any sample may follow any."""
    own = getattr(data, "shuffle", None)
    return Shuffle(len(data), seed) if own is None else own(seed, batch_size)


def owned(nets: nn.ModuleDict, player: Player) -> list[nn.Parameter]:
    """The parameters that a player moves, each once."""
    found: dict[int, nn.Parameter] = {}
    for name in player.nets:
        for p in nets[name].parameters():
            found[id(p)] = p
    return list(found.values())


def _laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    """`value` in the memory layout of its parameter, as the fused optimisers require."""
    return torch.empty_like(p).copy_(value) if value.shape == p.shape else value


def to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch

    def move(t: Tensor | None) -> Tensor | None:
        return None if t is None else t.to(device, non_blocking=True)

    real = batch.real.to(device, non_blocking=True)
    return Batch(real, move(batch.label), move(batch.source))


def make_optimisers(
    objective: Objective,
    nets: nn.ModuleDict,
    *,
    kind: str,
    rates: Mapping[str, float],
    betas: Sequence[float],
    eps: float,
) -> dict[str, torch.optim.Optimizer]:
    """One optimiser for each player. `rates` by player name."""
    out: dict[str, torch.optim.Optimizer] = {}
    for player in objective.players():
        parameters, rate = owned(nets, player), rates[player.name]
        if kind == "adam":
            fused = parameters[0].device.type in ("cpu", "cuda")
            out[player.name] = torch.optim.Adam(
                parameters, rate, betas=(betas[0], betas[1]), eps=eps, fused=fused
            )
        elif kind == "rmsprop":
            out[player.name] = torch.optim.RMSprop(parameters, rate, alpha=betas[1], eps=eps)
        else:
            out[player.name] = torch.optim.SGD(parameters, rate, momentum=betas[0])
    return out
