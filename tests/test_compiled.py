"""torch.compile changes how the networks are computed, and nothing else."""

import shutil

import pytest
import torch

import ganforge
from ganforge.build import build_game, build_trainer
from ganforge.errors import UserError


def after_two_turns(recipe: str, compiled: bool, **more) -> dict[str, torch.Tensor]:
    config, data, own = ganforge.plan(
        "fashion-mnist-mini", recipe, batch_size=4, size=16, horizon=1000, compiled=compiled, **more
    )
    game = build_game(config, own, torch.device("cpu"))
    trainer = build_trainer(game, data)
    trainer.turn()
    trainer.turn()
    return {k: v.clone() for k, v in trainer.tensors()["networks"].items()}


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_the_same_training_by_the_same_names(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, compiled = (after_two_turns("wgan-gp", c, width=4) for c in (False, True))
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        assert torch.allclose(value, compiled[name], atol=1e-4), name


def test_where_nothing_can_be_compiled():
    with pytest.raises(UserError, match="compiled=true changes nothing here"):
        after_two_turns("biggan", True, width=4)


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/c++",))
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        after_two_turns("gan", True)
