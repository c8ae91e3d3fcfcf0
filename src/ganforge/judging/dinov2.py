"""DINOv2's smallest network (Oquab et al. 2023, arXiv 2304.07193): features learnt without
labels, which rank generators more as people do than ImageNet's classes (Stein et al. 2023,
arXiv 2306.04675)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.judging.features import Features, resized, rgb_only
from ganforge.judging.inception import download, read_bytes, tensors_in
from ganforge.judging.store import cache, digest, digest_of, keep, kept

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth"
DIM, DEPTH, HEADS, PATCH, TRAINED_AT = 384, 12, 6, 14, 37


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(DIM))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(DIM, 1e-6), Attention(), Scale()
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(DIM, 1e-6), Mlp(), Scale()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, DIM, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    """Names are those of the published weights. (N, 3, S, S) to the class token (N, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.mask_token = nn.Parameter(torch.zeros(1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED_AT**2, DIM))
        self.patch_embed = PatchEmbed()
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(DIM, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1] // PATCH
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], 1)
        x = x + self.positions(side)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def positions(self, side: int) -> Tensor:
        """The position embedding at another size, as the authors interpolate it."""
        if side == TRAINED_AT:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].unflatten(1, (TRAINED_AT, TRAINED_AT)).permute(0, 3, 1, 2)
        factor = (side + 0.1) / TRAINED_AT
        grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def dinov2(
    shape: tuple[int, ...],
    weights: str | Path | None = None,
    size: int | None = None,
    device: str = "cpu",
) -> Features:
    """384 features of ViT-S/14, from pictures resized to 224.

    Args:
        weights: dinov2_vits14_pretrain.pth; downloaded once if None.

    Raises:
        UserError: the weights are not there and cannot be downloaded, or are not this
            network's.
    """
    rgb_only("dinov2", shape)
    size = (size or 224) // PATCH * PATCH
    path = cache("weights", "dinov2-vits14.safetensors")
    if weights is not None:
        state = tensors_in(read_bytes(Path(weights)), Path(weights))
    else:
        state = kept(path)
        if state is None:
            state = download(URL, "DINOv2 (84 MB)", "or use --features lite")
            keep(path, state)
    net = ViT()
    try:
        net.load_state_dict(state)
    except RuntimeError as e:
        raise UserError(f"{weights} is not DINOv2's ViT-S/14: {str(e).splitlines()[-1]}") from None
    net = net.to(device).requires_grad_(False).eval()
    mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], device=device).view(3, 1, 1)

    def embed(x: Tensor) -> Tensor:
        return net(resized(x, size).add(1).mul_(0.5).sub_(mean).div_(std))

    resize, mark = f"bicubic, antialiased, to {size}x{size}", digest_of(state)
    return Features(
        "dinov2",
        DIM,
        digest(mark, resize),
        embed,
        about={"resize": resize, "weights": mark},
        device=device,
    )
