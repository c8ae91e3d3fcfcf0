"""Several processes are one: the same data order, the same result at the same global batch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import ganforge
from ganforge import api
from ganforge.errors import UserError
from ganforge.run import Run
from ganforge.training.checkpoints import read
from ganforge.training.distributed import World, _of_this_start

STEPS = 4


def train(
    run: Path,
    processes: int,
    recipe: str,
    steps: int = STEPS,
    resume: bool = False,
    settings: dict[str, object] | None = None,
) -> None:
    verb = ["resume", str(run)] if resume else ["train", "--recipe", recipe, "--run-dir", str(run),
            "--width", "8", "--batch-size", "12", "--set", "horizon=1000",
            *(w for k, v in (settings or {}).items() for w in ("--set", f"{k}={v}"))]  # fmt: skip
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "ganforge", *verb, "--steps", str(steps)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("budget is reached") + done.stdout.count("budget is reached") == 1


def networks(run: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    tensors, state = read(run / "checkpoints" / f"step-{step:08d}")
    assert state["step"] == step
    return tensors["networks"] | {f"ema.{k}": v for k, v in tensors["ema"].items()}


ADAPTS = {"augment": "color,translation", "augment_target": 0.01, "augment_p": 0.5}


@pytest.mark.parametrize(
    ("recipe", "processes", "settings"), [("dcgan", 2, ADAPTS), ("wgan-gp", 3, {})]
)
def test_processes_agree_with_one(tmp_path, recipe, processes, settings):
    """Batch norm over processes, penalties with double backward, every draw and the data, and
    what an augmentation adapts to."""
    one = ganforge.train(recipe=recipe, run=tmp_path / "one", steps=STEPS, width=8, batch_size=12,
                         horizon=1000, settings=settings)  # fmt: skip
    train(tmp_path / "many", processes, recipe, settings=settings)
    a, b = networks(one.path), networks(tmp_path / "many")
    assert a.keys() == b.keys()
    for name, x in a.items():
        assert torch.allclose(x, b[name], atol=2e-4, rtol=1e-3), name


LOOKS = """
import sys
from ganforge.cli import main
from ganforge.judging.watch import Watch

Watch._due = lambda self, what, seconds: what == "pulse"
main()
"""


def test_the_first_process_looks_at_its_networks_by_itself(tmp_path):
    """A pulse after every turn, on networks with batch norm, that the others know nothing of."""
    (tmp_path / "looks.py").write_text(LOOKS)
    one = ganforge.train(recipe="dcgan", run=tmp_path / "one", steps=STEPS, width=8, batch_size=12,
                         horizon=1000)  # fmt: skip
    many = tmp_path / "many"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    args = ["train", "--recipe", "dcgan", "--run-dir", str(many), "--width", "8", "--batch-size",
            "12", "--set", "horizon=1000", "--steps", str(STEPS)]  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "looks.py"), *args],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    records = [json.loads(line) for line in (many / "records.jsonl").read_text().splitlines()]
    assert sum("health" in r for r in records) >= STEPS
    a, b = networks(one.path), networks(many)
    assert all(torch.allclose(x, b[k], atol=2e-4, rtol=1e-3) for k, x in a.items())


def test_a_checkpoint_loads_on_any_number_of_processes(tmp_path):
    whole = ganforge.train(recipe="dcgan", run=tmp_path / "whole", steps=STEPS, width=8,
                           batch_size=12, horizon=1000)  # fmt: skip
    train(tmp_path / "parts", 2, "dcgan", steps=1)
    train(tmp_path / "parts", 1, "dcgan", resume=True)
    a, b = networks(whole.path), networks(tmp_path / "parts")
    assert all(torch.allclose(x, b[k], atol=2e-4, rtol=1e-3) for k, x in a.items())
    records = (tmp_path / "parts" / "records.jsonl").read_text().splitlines()
    assert [json.loads(r)["event"] for r in records if "event" in r].count("resume") == 1


def test_a_signal_to_one_stops_all(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = tmp_path / "r"
    process = subprocess.Popen(
        [sys.executable, *launcher, "-m", "ganforge", "train", "--recipe", "dcgan", "--run-dir", str(run),
         "--width", "8", "--batch-size", "12", "--minutes", "5"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    records = run / "records.jsonl"
    while process.poll() is None and not (records.exists() and '"loss"' in records.read_text()):
        pass
    process.send_signal(signal.SIGTERM)  # the launcher passes it on
    process.wait(60)
    steps = [p.name for p in (run / "checkpoints").iterdir() if p.name.startswith("step-")]
    assert max(steps) > "step-00000000"


# -- one of them is lost --------------------------------------------------------------------
TINY = ["--recipe", "gan", "--width", "8", "--batch-size", "8", "--set", "horizon=100000"]


def events(run: Path) -> list[dict]:
    return (
        [r for r in Run(run).records() if "event" in r] if (run / "records.jsonl").exists() else []
    )


def until(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def save_midway(run: Path, process: subprocess.Popen) -> int:
    """The step of a checkpoint that is written by request while the training goes on."""
    until(lambda: any("loss" in r for r in Run(run).records()), process)
    Run(run).request("save")
    until(lambda: any(e["event"] == "save" for e in events(run)), process)
    return next(e["step"] for e in events(run) if e["event"] == "save")


def test_a_killed_process_stops_the_other_soon_in_one_line(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    run, both = tmp_path / "r", []
    for rank in "01":
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}  # fmt: skip
        both.append(subprocess.Popen(
            [sys.executable, "-m", "ganforge", "train", "--run", str(run), *TINY, "--minutes", "5"],
            env=os.environ | place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ))  # fmt: skip
    first, second = both
    step = save_midway(run, first)
    second.kill()
    _, err = first.communicate(timeout=30)
    second.communicate()
    assert first.returncode == 1
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert "a process of this run was lost" in said[0]
    assert f"checkpoint of step {step} is whole" in said[0]
    assert events(run)[-1]["event"] == "stop"
    assert "was lost" in events(run)[-1]["message"]


def workers(launcher: subprocess.Popen) -> dict[str, int]:
    """Rank to process, of those that torchrun has started."""
    task = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    found = {}
    for pid in task.read_text().split():
        about = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found |= {a[5:].decode(): int(pid) for a in about if a.startswith(b"RANK=")}
    return found


def test_torchrun_restarts_and_the_end_is_the_same(tmp_path):
    """Bit for bit: the same number of processes adds the same numbers."""

    def start(run: Path, steps: int) -> subprocess.Popen:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                    "--max-restarts", "1", "-m", "ganforge", "train", "--run-dir", str(run)]  # fmt: skip
        return subprocess.Popen([sys.executable, *launcher, *TINY, "--steps", str(steps)],
                                env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)  # fmt: skip

    steps = 300
    whole, killed = start(tmp_path / "whole", steps), start(tmp_path / "killed", steps)
    step = save_midway(tmp_path / "killed", killed)
    os.kill(workers(killed)["1"], signal.SIGKILL)
    for process in (whole, killed):
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-3000:]
    resumed = [e["message"] for e in events(tmp_path / "killed") if e["event"] == "resume"]
    assert resumed == [f"continued from step {step}"]
    a, b = networks(tmp_path / "whole", steps), networks(tmp_path / "killed", steps)
    assert all(torch.equal(x, b[k]) for k, x in a.items())


def test_no_thread_of_the_group_outlives_python(tmp_path):
    """One that frees a tensor when the interpreter is gone aborts a finished run."""
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, os, torch\n"
        "from ganforge.training import distributed\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "atexit.register(lambda: os.write(1, f'{count()} thread\\n'.encode()))\n"
        "distributed.join(torch.device('cpu'))\n"
        "torch.optim.Adam([torch.zeros(1)])  # imports what refers to the group\n"
        "distributed.barrier()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "thread"] * 2


@pytest.mark.parametrize(("batch", "fit"), [(64, "63 or 66"), (2, "3")])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path, monkeypatch, batch, fit):
    """An average of three processes' averages would weigh samples of a small share more."""
    run = tmp_path / "r"
    ganforge.train(recipe="gan", run=run, steps=1, width=8, batch_size=batch)
    monkeypatch.setattr(api, "join", lambda device: World(1, 3))
    with pytest.raises(UserError, match=f"by 3 processes; start a run with --batch-size {fit},"):
        ganforge.resume(run, steps=2)
    with pytest.raises(UserError, match="cannot be shared evenly"):
        ganforge.train(recipe="gan", run=tmp_path / "new", steps=1, width=8, batch_size=batch)
    assert not (tmp_path / "new").exists()


def test_a_restart_does_not_read_what_an_earlier_start_wrote():
    """torchrun keeps its store over a restart, and the other's old address with it."""
    store = torch.distributed.HashStore()

    def start(ranks: str) -> list[torch.distributed.Store]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda r: _of_this_start(store, int(r), 2, minutes=1), ranks))

    for first, second in (start("01"), start("10")):
        first.set("address", "here")
        assert second.check(["address"])
    old = start("01")[0]
    old.set("address", "gone")
    for new in start("10"):
        assert not new.check(["address"])
    with pytest.raises(RuntimeError):  # the first one of an earlier start does not answer
        _of_this_start(store, 1, 2, minutes=0)
