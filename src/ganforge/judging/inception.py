"""The network of the FID: Inception v3 of 2015 as TensorFlow ran it, by torch-fidelity
(Obukhov et al. 2020), which reproduces the original's numbers to machine precision."""

from __future__ import annotations

import hashlib
import io
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.judging.features import Features, rgb_only
from ganforge.judging.store import cache, digest, digest_of, keep, kept

OFFICIAL = "6726825d"
"""The first digits of the SHA-256 of torch-fidelity's file of weights."""


def inception(
    shape: tuple[int, ...], weights: str | Path | None = None, device: str = "cpu"
) -> Features:
    """2048 features after the pooling, from 8-bit pictures, resized as TensorFlow 1 did.

    Args:
        weights: torch-fidelity's file; downloaded once if None. With other weights the
            distance is not called FID.

    Raises:
        UserError: the weights are not there and cannot be downloaded, or are not this
            network's.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    rgb_only("inception", shape)
    state, official = _weights(weights)
    data = io.BytesIO()
    torch.save(state, data)  # torch-fidelity reads no other form; these are tensors only
    data.seek(0)
    try:
        net = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=data
        )
    except RuntimeError as e:
        raise UserError(
            f"{weights} is not the Inception network: {str(e).splitlines()[-1]}"
        ) from None
    net = net.to(device)
    mark = digest_of(state)

    def embed(x: Tensor) -> Tensor:
        pixels = x.add(1).mul_(127.5).round_().to(torch.uint8).expand(-1, 3, -1, -1)
        return net(pixels)[0]

    resize = "bilinear, as TensorFlow 1, to 299x299"
    return Features(
        "inception",
        2048,
        digest(mark, resize),
        embed,
        about={"resize": resize, "weights": mark, "official": official},
        head=(net.fc.weight.detach().float().cpu(), None),
        fid=official,
        unit=False,
        batch=16,
        device=device,
    )


def _weights(given: str | Path | None) -> tuple[dict[str, Tensor], bool]:
    """The state, and whether it is the official one."""
    ours = cache("weights", f"inception-{OFFICIAL}.safetensors")
    if given is not None:
        data = read_bytes(Path(given))
        state = tensors_in(data, Path(given))
        official = hashlib.sha256(data).hexdigest().startswith(OFFICIAL)
        if official:
            keep(ours, state)
        return state, official
    state = kept(ours)
    if state is None:
        state = _download()
        keep(ours, state)
    return state, True


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise UserError(f"the weights {path} cannot be read: {e.strerror}") from None


def tensors_in(data: bytes, path: Path) -> dict[str, Tensor]:
    """A file of weights: safetensors, or a .pth from which nothing but tensors is read."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        if path.suffix == ".safetensors":
            return load(data)
        return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError):
        raise UserError(f"{path} is not a file of weights (.pth or .safetensors)") from None


def _download() -> dict[str, Tensor]:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return download(URL_INCEPTION_V3, "the Inception network (91 MB)", "or use --features lite")


def download(url: str, what: str, instead: str) -> dict[str, Tensor]:
    """The tensors of a .pth file from its publisher, its hash checked where its name has one.

    Raises:
        UserError: it cannot be reached.
    """
    folder = cache("downloads")
    try:
        with _patience(20):
            return torch.hub.load_state_dict_from_url(
                url, str(folder), map_location="cpu", weights_only=True,
                check_hash="inception" in url, progress=False,
            )  # fmt: skip
    except Exception as e:  # urllib, socket and torch raise many kinds
        reason = str(getattr(e, "reason", "") or e).splitlines() or [type(e).__name__]
        raise UserError(
            f"the weights of {what} are not here and could not be downloaded ({reason[0][:120]}); "
            f"get {url.rpartition('/')[2]} elsewhere and give its path with --weights, {instead}"
        ) from None


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A network that answers nothing is given up on."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
