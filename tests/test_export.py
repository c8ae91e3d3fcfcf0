"""A graph for other programs says what the generator says, for every kind of network."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import ganforge
from ganforge.cli.app import app
from ganforge.errors import UserError
from ganforge.spec import Ask

SMALL = {"width": 4, "batch_size": 4, "steps": 1}
MADE = {
    "gan": {}, "dcgan": {}, "cgan": {"components": 4, "hidden": 8}, "sngan": {"size": 32}, "biggan": {"size": 32}, "r3gan": {},
    "wavegan": {"layout": "NCT"}, "inpaint": {}, "upscale": {"size": 16},
    "cyclegan": {"size": 16, "depth": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("export")

    def run(recipe: str) -> Path:
        path = folder / recipe
        if not path.exists():
            data, more = "fashion-mnist-mini", dict(MADE[recipe])
            if recipe == "wavegan":
                data = np.random.default_rng(0).uniform(-1, 1, (64, 1, 4096)).astype(np.float32)
            elif recipe == "cyclegan":
                for side in ("a", "b"):
                    (folder / side).mkdir()
                    for i in range(4):
                        Image.new("RGB", (16, 16), (i * 40, 9, 9)).save(folder / side / f"{i}.png")
                data, more["inputs"] = str(folder / "a"), str(folder / "b")
            ganforge.train(data, recipe, path, settings=SMALL | more)
        return path

    return run


def exported(path: Path, out: Path, *more: str) -> dict:
    args = ["export", str(path), "--out", str(out), "--json", *more]
    done = CliRunner().invoke(app, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("recipe", MADE)
def test_the_graph_makes_what_the_generator_makes(runs, recipe, tmp_path):
    path, out = runs(recipe), tmp_path / "g.onnx"
    body = exported(path, out)
    assert body["largest_difference"] < 1e-4
    made = ganforge.load(path, device="cpu")
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for n in (1, 3):
        if made.spec.source is None:
            ask = made.ask(n, seed=7)
        else:
            ask = Ask(source=torch.rand(n, *made.spec.source) * 2 - 1)
        given = {k: v.numpy() for k, v in ask._asdict().items() if v is not None}
        assert set(given) == set(body["inputs"])
        (x,) = session.run(None, given)
        torch.testing.assert_close(torch.as_tensor(x), made.make(ask), atol=1e-4, rtol=0)


def test_the_way_back_is_a_graph_too(runs, tmp_path):
    path = runs("cyclegan")
    exported(path, tmp_path / "back.onnx", "--back")
    made = ganforge.load(path, device="cpu")
    x = torch.rand(2, *made.spec.shape) * 2 - 1
    session = onnxruntime.InferenceSession(str(tmp_path / "back.onnx"))
    (y,) = session.run(None, {"source": x.numpy()})
    torch.testing.assert_close(torch.as_tensor(y), made.nets["F"](x), atol=1e-4, rtol=0)
    with pytest.raises(UserError, match="has learnt no way back"):
        CliRunner().invoke(app, ["export", str(runs("dcgan")), "--back"], catch_exceptions=False)


def test_what_is_exported_stays_usable(runs, tmp_path):
    from ganforge.export.networks import export

    made = ganforge.load(runs("dcgan"), device="cpu")
    before = made.sample(2)
    export(made, "onnx", tmp_path / "g.onnx")
    export(made, "safetensors", tmp_path / "g.safetensors")
    assert torch.equal(made.sample(2), before)
    kept = load_file(tmp_path / "g.safetensors")
    assert all(torch.equal(kept[k], v) for k, v in made.nets.state_dict().items())
