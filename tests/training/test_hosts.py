"""Several hosts: `torchrun --nnodes 2` over a network of their own, where the system allows one
to be made; elsewhere the same commands over loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

import ganforge
from ganforge.training.checkpoints import read

STEPS = 3
SMALL = ["--recipe", "dcgan", "--steps", str(STEPS), "--width", "8", "--batch-size", "12",
         "--set", "horizon=1000"]  # fmt: skip


@dataclass
class Host:
    """Where a command runs: its address, the interface that has it, and how to get there."""

    address: str
    interface: str
    enter: list[str] = field(default_factory=list)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def network() -> Iterator[list[Host]]:
    """Two hosts joined by a cable: network namespaces, which have no other way out."""
    names = [f"gf{os.getpid()}{k}" for k in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ends = [(n, f"v{n}") for n in names]
        ip("link", "add", ends[0][1], "type", "veth", "peer", "name", ends[1][1])
        hosts = []
        for k, (name, end) in enumerate(ends):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "address", "add", f"10.213.7.{k + 1}/24", "dev", end)
            for link in ("lo", end):
                ip("-n", name, "link", "set", link, "up")
            hosts.append(Host(f"10.213.7.{k + 1}", end, ["ip", "netns", "exec", name]))
        yield hosts
    finally:
        for name in names if shutil.which("ip") else ():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(network())
        except (OSError, subprocess.CalledProcessError):  # not allowed, or no such tool
            loopback = next(n for _, n in socket.if_nameindex() if n.startswith("lo"))
            made = [Host("127.0.0.1", loopback), Host("127.0.0.1", loopback)]
        yield made


def networks(run: Path) -> dict[str, torch.Tensor]:
    return read(run / "checkpoints" / f"step-{STEPS:08d}")[0]["networks"]


def test_two_hosts_agree_with_one_process(tmp_path, hosts):
    one = ganforge.train(recipe="dcgan", run=tmp_path / "one", steps=STEPS, width=8, batch_size=12,
                         horizon=1000)  # fmt: skip
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    started = []
    for k, host in enumerate(hosts):
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
                   "--node-rank", str(k), "--master-addr", hosts[0].address, "--master-port", port,
                   "-m", "ganforge", "train", "--run-dir", str(tmp_path / "two"), *SMALL]  # fmt: skip
        env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": host.interface}
        started.append(subprocess.Popen([*host.enter, *command], env=env, stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, text=True))  # fmt: skip
    for process in started:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-3000:]
    a, b = networks(one.path), networks(tmp_path / "two")
    assert all(torch.allclose(x, b[k], atol=2e-4, rtol=1e-3) for k, x in a.items())
