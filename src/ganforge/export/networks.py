"""A trained generator for use elsewhere: ONNX or safetensors."""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.export.samples import aside_of, unwritable
from ganforge.generator import Generator
from ganforge.spec import Ask

TOLERANCE = 1e-4


class _Sampler(nn.Module):
    """Everything that sampling does, as one module of tensors."""

    def __init__(self, made: Generator, names: tuple[str, ...]) -> None:
        super().__init__()
        # Copies: what is moved to the processor here is the caller's no more.
        self.nets, self.objective = copy.deepcopy(made.nets), copy.deepcopy(made.objective)
        self.names = names

    def forward(self, *given: Tensor) -> Tensor:
        return self.objective.sample(self.nets, Ask(**dict(zip(self.names, given, strict=True))))


def turned(made: Generator) -> Generator:
    """The generator of the way back, from samples to sources, as one of its own.

    Raises:
        UserError: the game has not learnt it.
    """
    if "F" not in made.nets:
        raise UserError(
            f"{made.run.path} has learnt no way back; only cyclegan does: leave --back away"
        )
    back = copy.copy(made)
    back.nets = torch.nn.ModuleDict({"G": made.nets["F"]})
    back.spec = replace(made.spec, shape=made.spec.source, source=made.spec.shape)
    return back


def inputs_of(made: Generator, n: int) -> dict[str, Tensor]:
    """Example inputs by name: latent (N, width) float32, label (N,) int64, source (N, ...)."""
    if made.spec.source is not None:
        return {"source": torch.zeros(n, *made.spec.source).uniform_(-1, 1)}
    ask = made.ask(n)
    return {k: v for k, v in ask._asdict().items() if v is not None}


def export(made: Generator, form: str, out: Path) -> dict[str, Any]:
    """Write the sampling networks.

    onnx: one graph from (latent, label or source) to samples, any batch size, checked
    against PyTorch by onnxruntime on other inputs than it was traced with.
    safetensors: the weights, with the configuration as metadata.

    Returns:
        {out, format, inputs, largest_difference}.

    Raises:
        UserError: an unknown format, a missing library, or a graph that does not agree.
    """
    if form not in ("onnx", "safetensors"):
        raise UserError(f"format {form!r} is unknown; choose onnx or safetensors")
    given = inputs_of(made, 2)
    shapes = {k: [None, *v.shape[1:]] for k, v in given.items()}
    aside = aside_of(out)
    try:
        worst = (_onnx if form == "onnx" else _safetensors)(made, given, aside)
        os.replace(aside, out)
    except OSError as e:
        raise unwritable(out, e) from None
    finally:
        aside.unlink(missing_ok=True)
    return {"out": str(out), "format": form, "inputs": shapes, "largest_difference": worst}


def _safetensors(made: Generator, given: dict[str, Tensor], path: Path) -> float:
    from safetensors.torch import load_file, save_file

    state = made.nets.state_dict()
    state |= {f"objective.{k}": v for k, v in made.objective.state_dict().items()}
    tensors = {k: v.cpu().contiguous() for k, v in state.items()}
    save_file(tensors, path, {"format": "ganforge-1", "config": json.dumps(made.config)})
    back = load_file(path)
    return max(
        ((back[k].double() - v.double()).abs().max().item() for k, v in tensors.items()),
        default=0.0,
    )


def _onnx(made: Generator, given: dict[str, Tensor], path: Path) -> float:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - the exporter needs it
    except ImportError as e:
        raise UserError(f"--format onnx needs {e.name}: pip install 'ganforge[export]'") from None
    names = tuple(given)
    sampler = _Sampler(made, names).cpu().eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    for noisy in ("torch.onnx", "onnxscript"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            sampler,
            tuple(given.values()),
            input_names=list(names),
            output_names=["samples"],
            dynamic_shapes=(tuple({0: batch} for _ in names),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    onnx.save_model(program.model_proto, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for n in (1, 5):
        fresh = inputs_of(made, n)
        with torch.no_grad():
            expected = sampler(*fresh.values())
        (found,) = session.run(None, {k: v.numpy() for k, v in fresh.items()})
        worst = max(worst, (torch.from_numpy(found) - expected).abs().max().item())
    if not worst <= TOLERANCE:
        raise UserError(
            f"the ONNX graph differs from PyTorch by {worst:.1e} (up to {TOLERANCE:g} is allowed); "
            "nothing was written; use --format safetensors"
        )
    return worst
