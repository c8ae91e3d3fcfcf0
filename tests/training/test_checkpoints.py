import errno
import os

import pytest
import torch

from ganforge.errors import UserError
from ganforge.training import checkpoints

TENSORS = {"networks": {"a": torch.arange(6.0).view(2, 3)}, "ema": {"b": torch.ones(1)}}


def test_round_trip_to_the_last_bit(tmp_path):
    checkpoints.write(tmp_path / "c", TENSORS, {"step": 3})
    tensors, state = checkpoints.read(tmp_path / "c")
    assert state["step"] == 3
    assert state["format"] == checkpoints.FORMAT
    for part, content in TENSORS.items():
        for k, v in content.items():
            assert torch.equal(tensors[part][k], v)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("name", ["networks.safetensors", "ema.safetensors", "state.json"])
def test_any_flipped_bit_is_found_and_its_file_named(tmp_path, name):
    checkpoints.write(tmp_path / "c", TENSORS, {"step": 3})
    path = tmp_path / "c" / name
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(checkpoints.Damaged, match=name):
            checkpoints.read(tmp_path / "c")
    path.unlink()
    with pytest.raises(checkpoints.Damaged, match=name):
        checkpoints.read(tmp_path / "c")


def test_a_full_disk_leaves_the_last_good_one(tmp_path, monkeypatch):
    checkpoints.write(tmp_path / "c", TENSORS, {"step": 3})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left"):
            checkpoints.write(tmp_path / "d", TENSORS, {"step": 4})
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    assert checkpoints.read(tmp_path / "c")[1]["step"] == 3


def test_a_newer_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 99)
    checkpoints.write(tmp_path / "c", TENSORS, {"step": 3})
    monkeypatch.undo()
    with pytest.raises(UserError, match="upgrade ganforge"):
        checkpoints.read(tmp_path / "c")
