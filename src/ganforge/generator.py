"""A trained generator, for use: `ganforge.load(run).sample(16)`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ganforge import config as configuration
from ganforge import draws
from ganforge.build import Own, build_game, pick_device
from ganforge.errors import UserError
from ganforge.objectives.latent import Latent
from ganforge.run import Run
from ganforge.sitting import fitting, last_whole
from ganforge.spec import Ask


class Generator:
    """The sampling networks of a run's checkpoint, in evaluation mode.

    Args:
        run: the run folder.
        checkpoint: "latest", "best" or a step.
        ema: use the moving average of the weights (as shown and scored), not the raw ones.
        own: one's own objective or family, if the run was made with them.
        device: where to compute.

    Raises:
        UserError: no such run or checkpoint, or it is damaged.
    """

    def __init__(
        self,
        run: Run,
        checkpoint: str | int = "latest",
        ema: bool = True,
        own: Own | None = None,
        device: str = "auto",
    ) -> None:
        self.run, self.config = run, run.config
        c = configuration.load(self.config)
        game = build_game(c, own, pick_device(device))
        part = "ema" if ema else "networks"
        tensors, self.state = last_whole(
            run, checkpoint, lambda m: print(m, file=sys.stderr), only=(part, "networks")
        )
        self.objective, self.spec, self.device = game.objective, game.spec, game.device
        self.classes = c.class_names
        nets = nn.ModuleDict({k: game.nets[k] for k in game.objective.sampled})
        keep = {k: v for k, v in tensors[part].items() if k.split(".")[0] in nets}
        with fitting(run):
            nets.load_state_dict(keep)
        mark = "objective."
        own_state = {
            k[len(mark) :]: v for k, v in tensors["networks"].items() if k.startswith(mark)
        }
        self.objective.load_state_dict(own_state)
        self.nets = nets.requires_grad_(False).eval()
        self.latent = self.objective.latent if self.spec.source is None else None

    @property
    def step(self) -> int:
        """The step of the checkpoint in use."""
        return int(self.state["step"])

    def label(self, name: str | int) -> int:
        """The number of a class given by name or number; text is a name first, should classes
        be called by numbers."""
        if not self.spec.classes:
            raise UserError(
                f"{self.run.path} was not trained by class (recipe {self.config['recipe']}); leave "
                "--label away, or train a conditional recipe such as cgan"
            )
        if isinstance(name, str) and name in self.classes:
            return self.classes.index(name)
        if str(name).lstrip("-").isdigit() and 0 <= int(name) < self.spec.classes:
            return int(name)
        raise UserError(
            f"class {name!r} is unknown; choose all, a number below {self.spec.classes}, or one of "
            f"{', '.join(self.classes)}"
        )

    def ask(
        self,
        n: int,
        seed: int = 0,
        label: str | int | None = None,
        code: Mapping[int, float] | None = None,
        truncation: float = 1.0,
        start: int = 0,
    ) -> Ask:
        """The request for samples number `start` to `start + n` of `seed`: sample i is the
        same however many are made at once.

        Args:
            label: a class by name or number; "all" or None goes round the classes.
            code: code number to value (InfoGAN).
            truncation: in (0, 1]; below 1 samples are more typical and less varied.
        """
        if n < 1:
            raise UserError(f"at least one sample can be made; {n} was asked for")
        if not 0 < truncation <= 1:
            raise UserError(f"truncation lies in (0, 1]; {truncation} was given")
        if self.latent is None:
            raise UserError(
                f"{self.run.path} transforms pictures and makes none from noise; use "
                "'ganforge apply RUN INPUT OUTPUT'"
            )
        index = torch.arange(start, start + n)
        with draws.keyed(seed, "sample", index):
            z = self.latent.draw(n, truncation=truncation)
        for i, value in (code or {}).items():
            z = self.latent.set_code(z, i, value)
        y = None
        if self.spec.classes:
            y = index % self.spec.classes
            if label is not None and label != "all":
                y = torch.full((n,), self.label(label))
        elif label is not None:
            self.label(label)
        return Ask(z, y)

    @torch.no_grad()
    def make(self, ask: Ask, batch: int = 256) -> Tensor:
        """(N, *shape) float32 on the CPU, `batch` at a time; in [-1, 1] but for vectors."""
        n = max(len(t) for t in ask if t is not None)
        parts = []
        for i in range(0, max(n, 1), batch):
            some = (None if t is None else t[i : i + batch].to(self.device) for t in ask)
            parts.append(self.objective.sample(self.nets, Ask(*some)).float().cpu())
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def sample(
        self,
        n: int = 16,
        seed: int = 0,
        label: str | int | None = None,
        code: Mapping[int, float] | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """n samples, (n, *shape) float32; see `ask`."""
        return torch.cat(list(self.stream(n, seed, label, code, truncation)))

    def stream(
        self,
        n: int,
        seed: int = 0,
        label: str | int | None = None,
        code: Mapping[int, float] | None = None,
        truncation: float = 1.0,
        batch: int = 256,
    ) -> Iterator[Tensor]:
        """The same in batches, with flat memory."""
        for start in range(0, n, batch):
            yield self.make(self.ask(min(batch, n - start), seed, label, code, truncation, start))

    def interpolate(self, rows: int = 8, steps: int = 8, seed: int = 0,
                    label: str | int | None = None, truncation: float = 1.0) -> Tensor:  # fmt: skip
        """(rows * steps, *shape): each row walks from one latent to another, of one class."""
        ends = self.ask(2 * rows, seed, label, None, truncation)
        return self.make(strips(self.latent, ends, torch.linspace(0, 1, steps)))


def strips(latent: Latent | None, ends: Ask, t: Tensor) -> Ask:
    """From the first of each pair of latents (2 * N, width) to the second, of the first's
    class, at the shares t (T,) of the way: (N * T, width)."""
    assert ends.latent is not None
    y = None if ends.label is None else ends.label[::2]
    return between(latent, Ask(ends.latent[::2], y), Ask(ends.latent[1::2], y), t)


def chain(latent: Latent | None, stops: Ask, t: Tensor) -> Ask:
    """From each latent (N + 1, width) to the next: (N * T, width).

    Raises:
        UserError: there is only one.
    """
    z, y = stops.latent, stops.label
    assert z is not None
    if len(z) < 2:
        raise UserError("there is one latent, and a walk is from one to another; give 2 or more")
    a, b = (Ask(z[s], None if y is None else y[s]) for s in (slice(-1), slice(1, None)))
    return between(latent, a, b, t)


def between(latent: Latent | None, a: Ask, b: Ask, t: Tensor) -> Ask:
    """From each latent of a (N, width) to that of b, at the shares t (T,) of the way:
    (N * T, width); classes change half way."""
    assert latent is not None
    assert a.latent is not None
    assert b.latent is not None
    z = latent.mixed(a.latent[:, None], b.latent[:, None], t.view(1, -1, 1)).flatten(0, 1)
    if a.label is None or b.label is None:
        return Ask(z)
    return Ask(z, torch.where(t < 0.5, a.label[:, None], b.label[:, None]).flatten())
