"""LPIPS, the perceptual distance that papers report (Zhang, Isola, Efros, Shechtman, Wang 2018,
arXiv 1801.03924), through VGG16 (Simonyan and Zisserman 2014, arXiv 1409.1556). The network's
weights (528 MB) are used where torchvision has put them; nobody downloads them unasked."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from ganforge.errors import UserError

FILE = "vgg16-397923af.pth"
"""torchvision's name for VGG16's ImageNet weights."""

AFTER = (3, 8, 15, 22, 29)
"""The layers whose maps are compared: the last ReLU of each of the five sizes."""

LEAST = 16
"""Sides that four poolings need."""


def place() -> Path:
    """Where torchvision keeps the weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


class LPIPS(nn.Module):
    """Pictures (N, 1 or 3, H, W) in [-1, 1], sides of 16 or more, to their distances (N,), as
    version 0.1 of the authors' code gives them. Differentiable in the pictures, frozen itself.

    Raises:
        UserError: the weights are not on this disk, or the pictures do not fit.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import vgg16

        with torch.device("meta"):
            layers = list(vgg16(weights=None).features.children())
            self.layers = nn.Sequential(*layers[: AFTER[-1] + 1])
        self.layers.load_state_dict(_network(), strict=False, assign=True)
        for i, weight in enumerate(_linear()):
            self.register_buffer(f"linear{i}", weight)
        # What the authors' code takes from pictures in [-1, 1], and divides by
        shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])
        self.register_buffer("shift", shift.view(1, 3, 1, 1))
        self.register_buffer("scale", scale.view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        a, b = self.maps(x), self.maps(other)
        gaps = [
            ((_unit(a) - _unit(b)).square() * self.get_buffer(f"linear{i}")).sum(1).mean((1, 2))
            for i, (a, b) in enumerate(zip(a, b, strict=True))
        ]
        return torch.stack(gaps).sum(0)

    def maps(self, x: Tensor) -> list[Tensor]:
        """After each of `AFTER`."""
        if x.dim() != 4 or x.shape[1] not in (1, 3) or min(x.shape[2:]) < LEAST:
            raise UserError(
                f"LPIPS looks at pictures of 1 or 3 channels and {LEAST} pixels or more a side, not "
                f"at {tuple(x.shape[1:])}; drop the term lpips"
            )
        x = (x.expand(-1, 3, -1, -1) - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in AFTER:
                found.append(x)
        return found


def _unit(x: Tensor) -> Tensor:
    return x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt()


def _network() -> dict[str, Tensor]:
    path = place()
    if not path.is_file():
        raise UserError(
            f"VGG16's weights are not at {path}, and ganforge downloads no 528 MB unasked; run: "
            "python -c \"import torchvision; torchvision.models.vgg16(weights='DEFAULT')\""
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError):
        state = {}
    state = state if isinstance(state, dict) else {}
    head = "features."
    # "28" is the last convolution: what lies beyond is not looked at
    found = {k.removeprefix(head): v.float() for k, v in state.items() if k.startswith(head)}
    if "28.weight" not in found:
        raise UserError(f"{path} does not hold VGG16; delete it and let torchvision fetch it again")
    return found


def _linear() -> list[Tensor]:
    """(1, C, 1, 1) each: how much each channel counts, as people's judgements taught; torchmetrics
    brings them along."""
    import torchmetrics

    path = Path(str(torchmetrics.__file__)).parent / "functional/image/lpips_models/vgg.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"] for i in range(len(AFTER))]
