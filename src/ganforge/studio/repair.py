"""A picture from the page, and what a restorer or translator makes of it, in a process of
its own: a large picture takes a minute, and a walk through a latent space must not wait.

The process (`python -m ganforge.studio.repair`) reads requests from its standard input and
answers on its standard output, each a line of JSON, a request followed by the picture file.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ganforge.errors import UserError
from ganforge.run import Run
from ganforge.studio.problems import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.generator import Generator

MOST_PIXELS = 1 << 21
"""Of a result: about a minute of a small network on one core."""
MOST_WAITING = 8
MOST_SECONDS = 600.0
MOST_OPEN = 2
COMMAND = (sys.executable, "-m", "ganforge.studio.repair")


class Repairs:
    """The process, started when it is first needed; one picture at a time, few waiting."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self.command = command
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Have it ready; it ends with this process."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
            )
        return self._process

    def ready(self) -> None:
        """Start it ahead of the first picture, unless one is being made."""
        if self._turn.acquire(blocking=False):
            try:
                self.start()
            finally:
                self._turn.release()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def make(self, run: Path, step: int, data: bytes, damage: bool) -> dict[str, Any]:
        """See `repaired`, of a run's checkpoint.

        Raises:
            Problem: as there; too many wait; it took too long, or the process failed.
            UserError: as there.
        """
        if not self._places.acquire(blocking=False):
            raise Problem(503, "Too many pictures", "others wait already; try again in a minute")
        try:
            with self._turn:
                answer = self._ask(run, step, data, damage)
        finally:
            self._places.release()
        if "problem" in answer:
            raise Problem(*answer["problem"])
        if "refused" in answer:
            raise UserError(answer["refused"])
        return answer["made"]

    def _ask(self, run: Path, step: int, data: bytes, damage: bool) -> dict[str, Any]:
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {"run": str(run), "step": step, "damage": damage, "most": MOST_PIXELS}
        timer = threading.Timer(MOST_SECONDS, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(asked | {"size": len(data)}).encode() + b"\n" + data)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            process.kill()
            process.wait()
            raise Problem(
                503, "The picture was not made", "it took too long or too much memory; "
                "try a smaller one, or ganforge apply"
            )  # fmt: skip
        return json.loads(line)


def work(asked: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    from ganforge.api import load

    opened: OrderedDict[tuple[str, int, int], Generator] = OrderedDict()
    for line in iter(asked.readline, b""):
        wish = json.loads(line)
        data = asked.read(wish["size"])
        name = (wish["run"], wish["step"], Run(Path(wish["run"])).written(wish["step"]))
        answer: dict[str, Any]
        try:
            if name not in opened:
                opened[name] = load(Path(wish["run"]), wish["step"], device="cpu")
            opened.move_to_end(name)
            while len(opened) > MOST_OPEN:
                opened.popitem(last=False)
            answer = {"made": repaired(opened[name], data, wish["damage"], wish["most"])}
        except Problem as e:
            answer = {"problem": [e.status, e.title, e.detail]}
        except UserError as e:
            answer = {"refused": str(e)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def repaired(
    generator: Generator, data: bytes, damage: bool, most: int = MOST_PIXELS
) -> dict[str, Any]:
    """Both pictures as data URLs, of one size: {"before", "after", "size": [H, W]}.

    Args:
        data: a picture file's content.
        damage: it is whole, and is to be damaged first as the training's were.
        most: pixels of a result.

    Raises:
        Problem: it is no picture, or too large.
        UserError: it does not fit the network.
    """
    from ganforge.data.decode import Broken, look
    from ganforge.export.applying import Applier, image, side_by_side, transformed

    applier = Applier(generator, damage=damage)
    known = applier.degradation
    grows = 1 if known is None or damage else known.factor
    try:
        height, width = (s * grows for s in look(data, "picture").size)
        if height * width > most:
            raise Problem(
                413, "Picture too large", f"it would become {width} x {height} pixels; the page "
                f"makes up to {most:,}, ganforge apply any size"
            )  # fmt: skip
        saw, made = transformed(applier, data, "picture")
    except Broken as e:
        raise Problem(415, "Not a picture", f"{e}; drop a PNG, JPEG, WebP or the like") from None
    except UserError as e:
        raise UserError(str(e).replace("--mask FILE", "ganforge apply --mask FILE")) from None
    before, after = side_by_side(saw, made, None)

    def url(x: Tensor) -> str:
        to = io.BytesIO()
        image(x if x.dim() == 4 else x[None]).save(to, "PNG")
        return "data:image/png;base64," + base64.b64encode(to.getvalue()).decode()

    return {"before": url(before), "after": url(after), "size": list(made.shape[2:])}


def main() -> None:
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        work(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
