"""Several processes as one: who am I, and the two averages a turn needs.

`torchrun` sets the environment; one process needs none of it.
"""

from __future__ import annotations

import atexit
import importlib
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter


@dataclass(frozen=True)
class World:
    """This process's place among the processes of a run."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, n: int) -> tuple[int, int]:
        """The half-open range of a global batch of n that is this process's."""
        return self.rank * n // self.size, (self.rank + 1) * n // self.size


def join(device: torch.device) -> World:
    """Join the processes that torchrun started (gloo on CPUs, nccl on GPUs), if it did. What
    is said to "cuda" without a number, seeds among it, is from now on said to this device."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # What has the group as an argument's default keeps it for ever if imported after this.
        importlib.import_module("torch.distributed.nn.functional")

        store, rank, size = next(dist.rendezvous("env://"))
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=_of_this_start(store, rank, size), rank=rank, world_size=size,
        )  # fmt: skip
        atexit.register(leave)
    return world()


def leave() -> None:
    """End the group while Python still runs: its threads, left to themselves, may free a tensor
    when Python is gone, which aborts the process, and torchrun sees a finished run fail."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _of_this_start(store: dist.Store, rank: int, size: int, minutes: float = 10) -> dist.Store:
    """A part of the store in which no process of an earlier start has written.

    torchrun keeps one store over its restarts, with the addresses of the processes that are gone:
    a process that reads before the other has written anew calls one that nobody answers. So the
    first names the start, and the others take the name only if it answers to theirs.

    Raises:
        RuntimeError: the first process gave no answer in time.
    """
    mine = uuid.uuid4().hex
    if rank == 0:
        store.set("ganforge/start", mine)
        for other in range(1, size):
            name = store.get(f"{mine}/{other}").decode()
            store.set(f"{mine}/{name}", "here")
        return dist.PrefixStore(mine, store)
    end = time.monotonic() + 60 * minutes
    while True:
        start = store.get("ganforge/start").decode()
        store.set(f"{start}/{rank}", mine)
        try:
            store.wait([f"{start}/{mine}"], timedelta(seconds=1))
            return dist.PrefixStore(start, store)
        except RuntimeError:
            if time.monotonic() > end:
                raise


def world() -> World:
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


def average_gradients(parameters: Sequence[Parameter]) -> None:
    """Average the gradients over all processes: one flat all-reduce, no wrapper around any
    network, so several forwards, D.encode and double backward just work."""
    if world().size == 1:
        return
    grads = []
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        grads.append(p.grad)
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= world().size
    parts = flat.split([g.numel() for g in grads])
    torch._foreach_copy_(grads, [a.view_as(g) for a, g in zip(parts, grads, strict=True)])


def average(scalars: dict[str, Tensor]) -> dict[str, Tensor]:
    """Named detached scalars, averaged over all processes."""
    out = {k: v.detach() for k, v in scalars.items()}
    if world().size > 1 and out:
        flat = torch.stack([v.float() for v in out.values()])
        dist.all_reduce(flat)
        out = dict(zip(out, flat / world().size, strict=True))
    return out


def agree(flag: bool, device: torch.device) -> bool:
    """True on every process if it is true on any: so that all leave the loop together."""
    if world().size == 1:
        return flag
    t = torch.tensor(int(flag), device=device)
    dist.all_reduce(t, dist.ReduceOp.MAX)
    return bool(t.item())


def of_first(value: float, device: torch.device) -> float:
    """The first process's value, on every process."""
    if world().size == 1:
        return value
    t = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(t, 0)
    return t.item()


def barrier() -> None:
    if world().size > 1:
        dist.barrier()


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process the first one's values."""
    if world().size > 1:
        for t in tensors:
            dist.broadcast(t, 0)
