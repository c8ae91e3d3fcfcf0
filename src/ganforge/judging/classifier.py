"""A small convolutional network trained on the reference's own labels: features and class
probabilities for data that are no photographs (digits, clothes, sound)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.judging.features import Features, quantised
from ganforge.judging.samples import Rows
from ganforge.judging.store import Progress, cache, digest_of, keep, kept

FORMAT = 1
"""Of the network and its training: another one is trained when this changes."""

SEEN, PASSES = 240_000, (1, 20)
"""How many samples to train on, repeats included, and within how many passes over the data."""

BATCH, RATE, WIDTH = 128, 4e-3, 128


class Net(nn.Module):
    """(N, *shape) to features (N, WIDTH) and, by `head`, to classes. Each stage halves the
    pictures (quarters the sound) until 7 or fewer are left; vectors go through the last two
    layers only."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        width, *space = shape
        layers: list[nn.Module] = []
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if len(space) == 1 else (nn.Conv2d, nn.BatchNorm2d)
        out, stride = 32, 4 if len(space) == 1 else 2
        while max(space, default=0) > 7:
            kernel = 2 * stride + 1 if not layers else stride + 1
            layers += [conv(width, out, kernel, stride, kernel // 2, bias=False), norm(out)]
            layers.append(nn.ReLU())
            space = [(s + 2 * (kernel // 2) - kernel) // stride + 1 for s in space]
            width, out = out, min(2 * out, WIDTH)
        layers += [nn.Flatten(), nn.Linear(width * math.prod(space), WIDTH)]
        self.features = nn.Sequential(*layers, nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, classes)
        if len(shape) == 3:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def classifier(
    shape: tuple[int, ...],
    labelled: Rows | None,
    held_out: Rows | None = None,
    device: str = "cpu",
    say: Progress | None = None,
) -> Features:
    """The classifier of these data, trained the first time and then kept.

    Args:
        labelled: what to train on.
        held_out: what its accuracy is measured on; a tenth of `labelled`, left out of the
            training, if None.

    Raises:
        UserError: there are no labels, or only one class.
    """
    if labelled is None or len(labelled.dataset.classes) < 2:
        raise UserError(
            "features 'classifier' need at least two classes of labels, and this reference has "
            f"{len(labelled.dataset.classes) if labelled else 0}; use --features lite"
        )
    classes = len(labelled.dataset.classes)
    key = None if labelled.key is None else f"classifier-{FORMAT}-{labelled.key}-{len(labelled)}"
    path = None if key is None else cache("weights", f"{key}.safetensors")
    state = kept(path) if path else None
    net = Net(shape, classes)
    if state is None:
        train, test = len(labelled), held_out
        if test is None:
            train = len(labelled) * 9 // 10
        net = _trained(net, labelled, train, say).eval()
        accuracy = _accuracy(net, test or labelled, 0 if test is not None else train)
        state = {**net.state_dict(), "accuracy": torch.tensor(accuracy)}
        if path:
            keep(path, state)
    accuracy = round(float(state["accuracy"]), 4)
    weights = {k: v for k, v in state.items() if k != "accuracy"}
    net.load_state_dict(weights)
    net = net.to(device).requires_grad_(False).eval()
    mark = digest_of(weights)
    return Features(
        "classifier",
        WIDTH,
        mark,
        net.features,
        about={"resize": "none", "weights": mark, "accuracy": accuracy, "classes": classes},
        head=(net.head.weight.detach().cpu(), net.head.bias.detach().cpu()),
        batch=250,
        device=device,
    )


def _trained(net: Net, labelled: Rows, n: int, say: Progress | None) -> Net:
    """One cycle of Adam; the same for the same samples and thread count."""
    passes = min(max(round(SEEN / n), PASSES[0]), PASSES[1])
    steps = passes * max(1, n // BATCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                module.reset_parameters()
        optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01, fused=True)
        rate = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, RATE, total_steps=steps, pct_start=0.25
        )
        for done, (x, y) in enumerate(_batches(labelled, n, passes), 1):
            loss = F.cross_entropy(net(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            if say is not None and done % 50 == 0:
                say(done * BATCH, steps * BATCH)
    return net


def _batches(labelled: Rows, n: int, passes: int) -> Iterator[tuple[Tensor, Tensor]]:
    numbers = labelled.indices(0, n)
    for _ in range(passes):
        order = torch.randperm(n).numpy()
        size = min(BATCH, n)
        for i in range(0, n - size + 1, size):
            batch = labelled.dataset.batch(numbers[order[i : i + size]])
            assert batch.label is not None
            yield quantised(batch.real), batch.label


@torch.inference_mode()
def _accuracy(net: Net, rows: Rows, start: int) -> float:
    right = 0
    for i in range(start, len(rows), 500):
        batch = rows.batch(i, min(500, len(rows) - i))
        assert batch.label is not None
        right += int((net(quantised(batch.real)).argmax(1) == batch.label).sum())
    return right / max(len(rows) - start, 1)
