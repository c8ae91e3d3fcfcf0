"""The opponent: a DCGAN as tutorials write it, after PyTorch's own example, at 32 px.

Width 64, batch 64, Adam 2e-4 (0.5, 0.999), a DataLoader over PIL transforms, separate
passes for real and forged, no averaged weights. It imports nothing of ganforge, was
written before any tuning of ours, and is not changed.

    from tutorial_dcgan import train
    for seconds, generator in train(images, seconds=300, workers=2, at=[15, 30, 60, 300]):
        ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

NZ, NGF, NDF, BATCH = 100, 64, 64, 64


class Pictures(Dataset):
    """uint8 pictures (N, H, W) or (N, H, W, C), turned into tensors one by one."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        channels = 1 if images.ndim == 3 else images.shape[3]
        self.transform = transforms.Compose(
            [
                transforms.Resize(32),
                transforms.CenterCrop(32),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * channels, (0.5,) * channels),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(Image.fromarray(self.images[i]))


def weights_init(m: nn.Module) -> None:
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif name.find("BatchNorm") != -1:
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def generator(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(NZ, NGF * 4, 4, 1, 0, bias=False),
        nn.BatchNorm2d(NGF * 4),
        nn.ReLU(True),
        nn.ConvTranspose2d(NGF * 4, NGF * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(NGF * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(NGF * 2, NGF, 4, 2, 1, bias=False),
        nn.BatchNorm2d(NGF),
        nn.ReLU(True),
        nn.ConvTranspose2d(NGF, channels, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def discriminator(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, NDF, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(NDF, NDF * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(NDF * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(NDF * 2, NDF * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(NDF * 4),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(NDF * 4, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


def train(
    images: np.ndarray, *, seconds: float, at: Sequence[float], workers: int = 2, seed: int = 0
) -> Iterator[tuple[float, nn.Module]]:
    """Train for `seconds` of wall time, the loader's start included; yields (seconds, the
    generator) at each time in `at`. The time that the caller spends is not counted."""
    torch.manual_seed(seed)
    channels = 1 if images.ndim == 3 else images.shape[3]
    net_g, net_d = generator(channels), discriminator(channels)
    net_g.apply(weights_init)
    net_d.apply(weights_init)
    criterion = nn.BCELoss()
    opt_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    marks, spent, start = sorted(at), 0.0, time.perf_counter()
    loader = DataLoader(Pictures(images), batch_size=BATCH, shuffle=True, num_workers=workers)
    while True:
        for real in loader:
            # (1) D: maximise log(D(x)) + log(1 - D(G(z)))
            net_d.zero_grad()
            size = real.size(0)
            label = torch.full((size,), 1.0)
            output = net_d(real).view(-1)
            criterion(output, label).backward()
            noise = torch.randn(size, NZ, 1, 1)
            fake = net_g(noise)
            label.fill_(0.0)
            output = net_d(fake.detach()).view(-1)
            criterion(output, label).backward()
            opt_d.step()
            # (2) G: maximise log(D(G(z)))
            net_g.zero_grad()
            label.fill_(1.0)
            output = net_d(fake).view(-1)
            criterion(output, label).backward()
            opt_g.step()

            now = spent + time.perf_counter() - start
            while marks and now >= marks[0]:
                spent = now
                yield marks.pop(0), net_g
                start = time.perf_counter()
            if now >= seconds:
                return


def sample(net_g: nn.Module, n: int, seed: int = 0) -> torch.Tensor:
    """(n, C, 32, 32) in [-1, 1], by the weights as they are, in training mode's statistics
    as the example's own picture is made."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return torch.cat([net_g(torch.randn(100, NZ, 1, 1)) for _ in range(-(-n // 100))])[:n]
