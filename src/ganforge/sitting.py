"""One sitting at a run: from its start, or from where it was left, until a budget, a
signal or a request ends it. Everything that is written is written here, by one process."""

from __future__ import annotations

import contextlib
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image

from ganforge.build import Game
from ganforge.errors import UserError
from ganforge.families.blocks import by_itself
from ganforge.gallery import beside, exhibit, picture, tiled
from ganforge.run import Outcome, Run
from ganforge.sounds import is_sound, seen
from ganforge.spec import Ask
from ganforge.training import checkpoints
from ganforge.training.distributed import agree, barrier, of_first
from ganforge.training.trainer import Trainer, Turn

ROLLBACKS = 3


@dataclass(frozen=True)
class Budget:
    """Counted from the run's beginning; the first one reached ends the sitting.

    Raises:
        UserError: one of them is not above 0.
    """

    steps: int | None = None
    images: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "images", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:  # NaN is not
                raise UserError(f"{name}={value} does not fit: a budget is above 0")

    def reached(self, step: int, images: int, seconds: float) -> bool:
        return (
            (self.steps is not None and step >= self.steps)
            or (self.images is not None and images >= self.images)
            or (self.minutes is not None and seconds >= self.minutes * 60)
        )

    def share(self, step: int, images: int, seconds: float) -> float:
        """How much of it is spent, in [0, 1]."""
        parts = [
            done / whole
            for done, whole in (
                (step, self.steps),
                (images, self.images),
                (seconds, self.minutes and self.minutes * 60),
            )
            if whole
        ]
        return min(1.0, max(parts, default=0.0))


class Cadence:
    """Due after `first` seconds, then each `growth` times later, but at least every `most`.
    It reads a clock and never touches training state."""

    def __init__(self, first: float, growth: float, most: float) -> None:
        self.gap, self.growth, self.most = first, growth, most
        self.next = first

    def due(self, seconds: float) -> bool:
        if seconds < self.next:
            return False
        self.gap = min(self.gap * self.growth, self.most)
        self.next = seconds + self.gap
        return True


class Judge(Protocol):
    """What looks at a training now and then: see ganforge.judging.watch."""

    def look(self, sitting: Any) -> Iterator[dict[str, Any]]: ...


class Sitting:
    """See the module. `watchers` are called with every record that is written; sources to
    show come from `held_out`, if there is any; `spent` are the seconds that a new training
    took before its first turn."""

    def __init__(
        self,
        run: Run,
        game: Game,
        trainer: Trainer,
        budget: Budget,
        watchers: list[Callable[[dict[str, Any]], None]] | None = None,
        judge: Judge | None = None,
        stop_when_converged: bool = False,
        held_out: Any = None,
        back_to: str | int = "latest",
        spent: float = 0.0,
    ) -> None:
        self.held_out, self.originals, self.back_to = held_out, None, back_to
        self.run, self.game, self.trainer, self.budget = run, game, trainer, budget
        self.watchers = watchers or []
        self.judge, self.stop_when_converged = judge, stop_when_converged
        self.seconds, self.rollbacks = spent, 0
        self.signal: int | None = None
        self.asked: str | None = None
        self.writes = trainer.world.first
        self.ask, self.columns = self._exhibit()
        self._saved = -1
        self._since = (0.0, 0)
        self._fresh = True

    # -- the sitting --------------------------------------------------------------------
    def sit(self) -> Outcome:
        """Train until something ends it.

        Raises:
            UserError: another process trains this run; no checkpoint is whole; the disk is full.
        """
        held = self.run.writing() if self.writes else contextlib.nullcontext()
        with held, self._signals():
            if self.writes:
                self.run.take_requests()  # what was asked of a sitting that has ended
            if self.run.checkpoints():
                if self.back_to != "latest":
                    self._go_back()
                self._resume()
            else:
                self._save()
                self._event("start", f"{self.game.config.recipe} on {self.game.config.data}")
            return self._loop()

    def _loop(self) -> Outcome:
        trainer, t0 = self.trainer, time.monotonic() - self.seconds
        tick, shown = Cadence(0.2, 1.02, 5.0), Cadence(2.0, 1.3, 60.0)
        saved = Cadence(30.0, 1.2, 180.0)
        for c in (tick, shown, saved):
            c.next += self.seconds
        self._since = (self.seconds, trainer.images)
        ending: Outcome | None = None
        while ending is None:
            # At least one turn, however long the look at the data took.
            if trainer.step and self.budget.reached(trainer.step, trainer.images, self.seconds):
                ending = Outcome("budget", 0, "the budget is reached")
                break
            more = trainer.batch_size * trainer.players[0].steps
            last = self.budget.reached(trainer.step + 1, trainer.images + more, self.seconds)
            watch = self._agree(tick.due(self.seconds) or last)  # the end is always on record
            turn = trainer.turn(watch)
            self.seconds = time.monotonic() - t0
            bad = turn.non_finite()
            if bad:
                ending = self._roll_back(bad)
                t0 = time.monotonic() - self.seconds
                continue
            if watch:
                self._tick(turn)
                ending = self._requests()
                trainer.rate_scale = of_first(trainer.rate_scale, self.game.device)
            if self.writes and shown.due(self.seconds):
                self._show()
            if self.writes and saved.due(self.seconds):
                self._save()
            if self.judge is not None and self.writes:
                ending = ending or self._judge()
            if self._agree(self.signal is not None):
                number = self.signal or signal.SIGTERM
                ending = Outcome(
                    signal.Signals(number).name, 128 + number, "stopped by a signal; saved"
                )
            self.seconds = time.monotonic() - t0
            ending = self._together(ending)
        if ending.reason != "diverged":
            self._save()
            self._show()
        self._event("stop", ending.message)
        return ending

    # -- what is written ----------------------------------------------------------------
    def _record(self, **content: Any) -> dict[str, Any]:
        trainer = self.trainer
        record = {
            "step": trainer.step,
            "images": trainer.images,
            "seconds": round(self.seconds, 3),
            **content,
        }
        if self.writes:
            try:
                self.run.append(record)
            except OSError as e:
                raise UserError(
                    f"cannot write {self.run.path / 'records.jsonl'}: {e.strerror}; the last good "
                    "checkpoint is intact; make room and resume"
                ) from None
            for watcher in self.watchers:
                watcher(record)
        return record

    def _event(self, event: str, message: str) -> None:
        self._record(event=event, message=message)

    def _tick(self, turn: Turn) -> None:
        then, images = self._since
        speed = (self.trainer.images - images) / max(self.seconds - then, 1e-9)
        self._since = (self.seconds, self.trainer.images)
        rates = {k: o.param_groups[0]["lr"] for k, o in self.trainer.optimisers.items()}
        self._record(
            loss={k: _short(v.item()) for k, v in turn.terms.items()},
            reading={k: _short(v.mean().item()) for k, v in turn.readings.items()},
            grad={k: _short(v) for k, v in turn.gradients.items()},
            rate={k: _short(v) for k, v in rates.items()},
            speed=round(speed, 1),
            histogram=_histogram(turn.readings),
        )

    def _show(self) -> None:
        if not self.writes:
            return
        path = self.run.sample_path(self.trainer.step)
        if path.exists() or self.trainer.step == 0:
            return
        try:
            aside = path.with_name(f".{path.name}")
            self._picture().save(aside, "PNG")
            aside.replace(path)
        except OSError as e:
            raise UserError(
                f"cannot write {path}: {e.strerror or e}; the last good checkpoint is intact; "
                "make room and resume"
            ) from None

    @torch.no_grad()
    def samples(self) -> torch.Tensor:
        """The exhibit, by the averaged networks."""
        return self.game.objective.sample(self.trainer.ema.nets, self.ask)

    def _save(self) -> None:
        if not self.writes or self._saved == self.trainer.step:
            return
        if not all(bool(torch.isfinite(p).all()) for p in self.trainer.nets.parameters()):
            return  # never over a good one; the next turn's terms will tell
        state = self.trainer.numbers() | {
            "seconds": self.seconds,
            "rollbacks": self.rollbacks,
            "seed": self.game.config.seed,
        }
        folder = self.run.checkpoint_path(self.trainer.step)
        checkpoints.write(folder, self.trainer.tensors(), state)
        self._saved = self.trainer.step
        best = (self.run.best or {}).get("step")
        for step, old in self.run.checkpoints()[:-2]:
            if step != best:
                shutil.rmtree(old, ignore_errors=True)

    # -- going back ---------------------------------------------------------------------
    def _go_back(self) -> None:
        """To an earlier checkpoint, and on from there with halved rates: with the same ones
        the same would come again."""
        tensors, state = last_whole(self.run, self.back_to)
        with fitting(self.run):
            self.trainer.restore(tensors, state)
        self.seconds, step = float(state["seconds"]), self.trainer.step
        barrier()  # nothing is moved before all have read it
        place = self.run.leave(step) if self.writes else None
        self.trainer.rate_scale /= 2
        self._saved = -1
        self._save()
        barrier()
        beyond = "" if place is None else f"; what lay beyond is in {place}"
        self._event("rollback", f"back to step {step} by request, rates halved{beyond}")

    def _resume(self) -> None:
        tensors, state = last_whole(self.run, say=lambda m: print(m, file=sys.stderr))
        with fitting(self.run):
            self.trainer.restore(tensors, state)
        self.seconds, self.rollbacks = float(state["seconds"]), int(state["rollbacks"])
        self._saved = self.trainer.step
        self._event("resume", f"continued from step {self.trainer.step}")

    def _roll_back(self, bad: list[str]) -> Outcome | None:
        """After NaN or infinity: the last good checkpoint with halved rates, at most three
        times, then a report of what went first."""
        first, at = self._first_non_finite(bad), self.trainer.step
        scale = self.trainer.rate_scale
        tensors, state = last_whole(self.run, say=lambda m: print(m, file=sys.stderr))
        self.trainer.restore(tensors, state)
        barrier()  # nothing is moved before all have read it
        if self.writes:  # the pictures of what is void
            self.run.leave(self.trainer.step)
        if self.rollbacks >= ROLLBACKS:
            message = (
                f"diverged: {first} at step {at}, after {ROLLBACKS} roll-backs with halved rates; "
                f"the checkpoint of step {self.trainer.step} is good; use a lower --lr"
            )
            return Outcome("diverged", 1, message)
        self.rollbacks += 1
        self.trainer.rate_scale = scale / 2
        message = f"{first} at step {at}; back to step {self.trainer.step}, rates halved"
        self._event("rollback", message)
        return None

    def _first_non_finite(self, bad: list[str]) -> str:
        for name, net in self.trainer.nets.items():
            for key, p in net.named_parameters():
                if not torch.isfinite(p).all():
                    return f"parameter {name}.{key} and the term {bad[0]} were not finite"
        return f"the term {bad[0]} was not finite"

    # -- what others ask ----------------------------------------------------------------
    def _requests(self) -> Outcome | None:
        if not self.writes:
            return None
        for request in self.run.take_requests():
            if request["kind"] == "stop":
                self.asked = "stop"
            elif request["kind"] == "save":
                self._save()
                self._event("save", "saved by request")
            elif request["kind"] == "rate" and isinstance(request.get("value"), int | float):
                self.trainer.rate_scale *= float(request["value"])
                self._event("rate", f"rates scaled by {request['value']:g} by request")
        return Outcome("request", 0, "stopped by request; saved") if self.asked else None

    def _judge(self) -> Outcome | None:
        assert self.judge is not None
        with by_itself():  # the other processes wait at the next turn, and average nothing here
            for content in self.judge.look(self):
                if "score" in content:
                    self._keep_best(content["score"])
                    content["against"] = "training" if self.held_out is None else "held-out"
                self._record(**content)
                verdict = content.get("health", {}).get("verdict")
                if verdict == "converged" and self.stop_when_converged:
                    said = "the score is flat within its interval; stopped"
                    return Outcome("converged", 0, said)
        return None

    def _keep_best(self, score: dict[str, Any]) -> None:
        """`best` is the checkpoint of the best quick score: its first number, less being
        better but for PSNR."""
        best, (name, now) = self.run.best, next(iter(score.items()))
        sign = -1 if name == "psnr" else 1
        if best is None or sign * now["value"] < sign * best["score"][name]["value"]:
            self._save()
            self.run.set_best(self.trainer.step, score)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the sitting after the turn in hand, saved."""

        def catch(number: int, _frame: Any) -> None:
            self.signal = number

        try:
            old = {s: signal.signal(s, catch) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the caller's signals are its own
            old = {}
        try:
            yield
        finally:
            for s, handler in old.items():
                signal.signal(s, handler)

    # -- several processes --------------------------------------------------------------
    def _agree(self, flag: bool) -> bool:
        return agree(flag, self.game.device)

    def _together(self, ending: Outcome | None) -> Outcome | None:
        if self.trainer.world.size == 1:
            return ending
        spent = self.budget.reached(self.trainer.step, self.trainer.images, self.seconds)
        if self._agree(ending is not None or spent):
            return ending or Outcome("budget", 0, "the budget is reached")
        return None

    # -- the exhibit --------------------------------------------------------------------
    def _exhibit(self) -> tuple[Ask, int]:
        ask, columns = exhibit(
            self.game.objective, self.game.spec, self.game.config.seed, self.game.device
        )
        if self.game.spec.source is not None:
            import numpy as np

            data = self.held_out or self.trainer.data
            some = data.batch(np.arange(min(24, len(data))))
            self.originals = some.real if getattr(data, "paired", False) else None
            source = None if some.source is None else some.source.to(self.game.device)
            ask = ask._replace(source=source)
        return ask, columns

    def _shown(self) -> torch.Tensor:
        """The exhibit; where it starts from sources, beside them and what belongs to them."""
        made = self.samples().float().cpu()
        if self.ask.source is None:
            return made
        return beside(self.ask.source.cpu(), made, self.originals)

    def _picture(self) -> Image.Image:
        """The exhibit as a picture, of sounds their spectrograms."""
        config = self.game.config.plain()
        if is_sound(config):
            return tiled(seen(config, self._shown()), self.columns)
        return picture(self._shown(), self.columns, self._reals())

    def _reals(self) -> torch.Tensor | None:
        if len(self.game.spec.shape) > 1:
            return None
        import numpy as np

        return self.trainer.data.batch(np.arange(min(1024, len(self.trainer.data)))).real


def last_whole(
    run: Run, which: str | int = "latest", say: Callable[[str], None] | None = None,
    only: tuple[str, ...] | None = None,
) -> tuple[checkpoints.Tensors, dict[str, Any]]:  # fmt: skip
    """The checkpoint asked for: "latest", "best" or a step. Where the latest is damaged, it
    is named and the one before is used.

    Raises:
        UserError: there is none, or none is whole.
    """
    have = run.checkpoints()
    if which == "best":
        if (best := run.best) is None:
            raise UserError(
                f"{run.path} has no best checkpoint: no quick score was taken; use latest, or train longer"
            )
        which = best["step"]
    if which != "latest":
        if not str(which).isdigit():
            raise UserError(f"a checkpoint is latest, best or a step; {which!r} was given")
        found = dict(have).get(int(which))
        if found is None:
            steps = ", ".join(str(s) for s, _ in have) or "none"
            raise UserError(f"{run.path} has no checkpoint of step {which}; it has: {steps}")
        return checkpoints.read(found, only)
    for _, folder in reversed(have):
        try:
            return checkpoints.read(folder, only)
        except checkpoints.Damaged as e:
            if say is not None:
                say(f"warning: {e}; using the checkpoint before it")
    what = "no checkpoint is whole" if have else "it has no checkpoint"
    raise UserError(f"{run.path} cannot be continued: {what}; start again with another --run")


@contextlib.contextmanager
def fitting(run: Run) -> Iterator[None]:
    """While a checkpoint's tensors are loaded into the networks of a run's configuration.

    Raises:
        UserError: they are of other networks.
    """
    try:
        yield
    except RuntimeError as e:
        if not str(e).startswith("Error(s) in loading state_dict"):
            raise
        lines = [line.strip() for line in str(e).splitlines()[1:]]
        raise UserError(
            f"the checkpoint does not fit the networks of {run.path / 'config.yaml'} ({lines[0]} "
            f"{len(lines)} such in all); undo what was changed in it"
        ) from None


def _short(x: float) -> float | None:
    """Six digits are enough for a curve; JSON has no NaN."""
    return float(f"{x:.6g}") if math.isfinite(x) else None


def _histogram(readings: dict[str, torch.Tensor], bins: int = 32) -> dict[str, Any] | None:
    values = [v.float() for v in readings.values() if v.numel()]
    if not values:
        return None
    both = torch.cat(values)
    low, high = both.min().item(), both.max().item()
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low == high:
        low, high = low - 1, high + 1
    counts = {
        k: [int(c) for c in torch.histc(v.float().cpu(), bins, low, high).tolist()]
        for k, v in readings.items()
    }
    return counts | {"range": [_short(low), _short(high)]}
