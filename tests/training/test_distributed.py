"""Several processes are one: the same data order, the same result at the same global batch."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ganforge
from ganforge.training.checkpoints import read

STEPS = 3


def train(run: Path, processes: int, recipe: str, steps: int = STEPS, resume: bool = False) -> None:
    verb = ["resume", str(run)] if resume else ["train", "--recipe", recipe, "--run-dir", str(run),
            "--width", "8", "--batch-size", "12", "--set", "horizon=1000"]  # fmt: skip
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "ganforge", *verb, "--steps", str(steps)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def networks(run: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    tensors, state = read(run / "checkpoints" / f"step-{step:08d}")
    assert state["step"] == step
    return tensors["networks"] | {f"ema.{k}": v for k, v in tensors["ema"].items()}


@pytest.mark.parametrize(("recipe", "processes"), [("dcgan", 2), ("wgan-gp", 3)])
def test_processes_agree_with_one(tmp_path, recipe, processes):
    """Batch norm over processes, penalties with double backward, every draw and the data."""
    one = ganforge.train(recipe=recipe, run=tmp_path / "one", steps=STEPS, width=8, batch_size=12,
                         horizon=1000)  # fmt: skip
    train(tmp_path / "many", processes, recipe)
    a, b = networks(one.path), networks(tmp_path / "many")
    assert a.keys() == b.keys()
    for name, x in a.items():
        assert torch.allclose(x, b[name], atol=2e-4, rtol=1e-3), name


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
