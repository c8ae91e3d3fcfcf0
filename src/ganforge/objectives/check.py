"""Is it a game? The checks that every objective passes, for anyone's own."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.objectives.objective import Family, Objective, Player, require
from ganforge.spec import Ask, Batch, Spec


def check_objective(
    objective: Objective, family: Family, spec: Spec, *, batch_size: int = 6, seed: int = 0
) -> None:
    """Play two turns on random samples of shape `spec` and check what the trainer counts on.

    - Each loss is a dict of finite scalars, its gradients are finite.
    - Each player moves every network that it names, and nothing moves any other.
    - The same turn again gives the same, bit by bit: random numbers come from
      `ganforge.draws`, and nothing is remembered outside parameters and buffers, so that a
      run resumes exactly.
    - Samples have the shape and type that they should, in [-1, 1] but for vectors, and do
      not depend on each other.

    The objective given is left as it is.

    Raises:
        UserError: what does not hold, and what to change.
    """
    objective = copy.deepcopy(objective)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = objective.networks(family, spec)
    players = objective.players()
    require(len(players) > 0, "players() is empty; name at least one player")
    for p in players:
        for name in p.nets:
            have = ", ".join(nets)
            require(name in nets, f"player {p.name!r} moves {name!r}; networks() makes {have}")
    for name in objective.sampled:
        require(name in nets, f"sampled names {name!r}; networks() makes {', '.join(nets)}")

    fresh = copy.deepcopy((objective, nets))
    twin = copy.deepcopy((objective, nets))
    _same(
        _turn(objective, nets, spec, batch_size, seed, 0),
        _turn(*twin, spec, batch_size, seed, 0),
        "the same turn again differs; draw random numbers from ganforge.draws, not torch",
    )

    fresh[0].load_state_dict(objective.state_dict())
    fresh[1].load_state_dict(nets.state_dict())
    _same(
        _turn(objective, nets, spec, batch_size, seed, 1),
        _turn(*fresh, spec, batch_size, seed, 1),
        "a restored game goes on differently; keep what it remembers in buffers "
        "(register_buffer), not in plain attributes",
    )
    _check_samples(objective, nets, spec, batch_size, seed)


def random_batch(spec: Spec, index: Tensor, seed: int = 0) -> Batch:
    """Random samples of a shape, keyed by their numbers (N,)."""
    n = len(index)
    with draws.keyed(seed, "check/data", index):
        real = draws.uniform(n, *spec.shape).mul_(2).sub_(1)
        label = draws.integers(n, spec.classes) if spec.classes else None
        source = draws.uniform(n, *spec.source).mul_(2).sub_(1) if spec.source else None
    return Batch(real, label, source)


def _turn(
    objective: Objective, nets: nn.ModuleDict, spec: Spec, n: int, seed: int, turn: int
) -> dict[str, Tensor]:
    """As the trainer plays it, with small steps down each gradient's sign. What it did: each
    move's terms and gradients, and the state that it left."""
    done: dict[str, Tensor] = {}
    for place, player in enumerate(objective.movers()):
        for step in range(player.steps if turn % player.every == 0 else 0):
            start = (turn * 100 + place * 10 + step) * n
            index = torch.arange(start, start + n)
            batch = random_batch(spec, index, seed)
            with draws.keyed(seed, f"move/{player.name}", index):
                found = _move(objective, player, nets, batch)
            done |= {f"{player.name}, move {step}, {k}": v for k, v in found.items()}
    left = objective.state_dict() | nets.state_dict()
    return done | {k: v.clone() for k, v in left.items()}


def _move(
    objective: Objective, player: Player, nets: nn.ModuleDict, batch: Batch
) -> dict[str, Tensor]:
    who = f"player {player.name!r}"
    owned = {f"{k}.{i}": p for k in player.nets for i, p in nets[k].named_parameters()}
    nets.requires_grad_(False)
    for p in owned.values():
        p.requires_grad_(True)
    before = {k: p.detach().clone() for k, p in nets.named_parameters()}

    terms = player.loss(nets, batch)
    for name, value in terms.items():
        what = f"{who}: term {name!r}"
        scalar = isinstance(value, Tensor) and value.dim() == 0
        require(scalar, f"{what} is no scalar tensor; take the mean over the batch")
        require(math.isfinite(value.item()), f"{what} is {value.item()}; it has to be finite")
    total = sum(terms.values(), torch.zeros(()))
    require(total.requires_grad, f"{who}: its loss does not depend on the networks that it moves")
    torch.autograd.backward(total, inputs=list(owned.values()))
    done = {f"term {k}": v.detach() for k, v in terms.items()}
    with torch.no_grad():
        for name, p in owned.items():
            if p.grad is not None:
                finite = bool(p.grad.isfinite().all())
                require(finite, f"{who}: the gradient of {name} is not finite")
                done[f"gradient of {name}"] = p.grad
                p.sub_(1e-3 * p.grad.sign())
                p.grad = None
    for key, values in objective.readings(batch).items():
        watched = isinstance(values, Tensor) and values.dim() == 1 and not values.requires_grad
        require(watched, f"reading {key!r} has to be one detached number a sample, (N,)")
    if player.after is not None:
        player.after(nets, {k: v.detach() for k, v in terms.items()})

    moved = {k.split(".")[0] for k, p in nets.named_parameters() if not p.equal(before[k])}
    for name in player.nets:
        require(name in moved, f"{who} names {name!r}, but its loss does not move it")
    others = sorted(moved - set(player.nets))
    require(not others, f"{who} moved {', '.join(others)}, which it does not name")
    return done


def _same(a: dict[str, Tensor], b: dict[str, Tensor], message: str) -> None:
    different = [k for k in a if not torch.equal(a[k], b[k])]
    if different:
        raise UserError(f"{message} (first in {different[0]})")


@torch.no_grad()
def _check_samples(
    objective: Objective, nets: nn.ModuleDict, spec: Spec, n: int, seed: int
) -> None:
    index = torch.arange(n)
    batch = random_batch(spec, index, seed)
    latent = None
    if spec.source is None:
        require(objective.latent is not None, "latent is None, but the data have no source")
        assert objective.latent is not None
        with draws.keyed(seed, "check/sample", index):
            latent = objective.latent.draw(n)
    ask = Ask(latent, batch.label, batch.source)
    sampled = nn.ModuleDict({k: nets[k] for k in objective.sampled}).eval()
    x = objective.sample(sampled, ask)
    expected = (n, *spec.shape)
    require(x.shape == expected, f"sample() gives {tuple(x.shape)}; it should be {expected}")
    require(x.dtype == torch.float32, f"sample() gives {x.dtype}; it should be float32")
    require(bool(x.isfinite().all()), "sample() gives values that are not finite")
    if len(spec.shape) > 1:
        require(float(x.abs().max()) <= 1, "sample() leaves [-1, 1]; end the generator with tanh")
    part = Ask(*(None if t is None else t[: n // 2] for t in ask))
    alone = objective.sample(sampled, part)
    independent = torch.allclose(alone, x[: n // 2], rtol=1e-3, atol=1e-4)
    require(independent, "a sample depends on the others of its batch; sample() may not mix them")
