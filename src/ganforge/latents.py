"""Ways through a trained generator's latent space: walks, directions, inversion."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.families.components import FromComponents
from ganforge.gallery import Block, legible, stills
from ganforge.generator import Generator, between
from ganforge.judging.features import raw
from ganforge.spec import Ask

METHODS = ("sefa", "pca", "pictures")


def need_latent(generator: Generator) -> int:
    """The width of its latent.

    Raises:
        UserError: it starts from a source and has none.
    """
    if generator.latent is None:
        raise UserError(
            f"{generator.run.path} transforms pictures and has no latent space to walk through; "
            "use 'ganforge apply'"
        )
    return generator.latent.width


# -- walks ----------------------------------------------------------------------------------
def walk(
    generator: Generator,
    stops: int = 6,
    frames: int = 12,
    seed: int = 0,
    label: str | int | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """(stops * frames, *shape): from one latent to the next and back to the first, slowing
    down at each. Normal latents turn (Shoemake 1985), others go straight; where every stop
    has a class of its own, the class changes half way.

    Raises:
        UserError: there is no latent, or fewer than 2 stops.
    """
    need_latent(generator)
    if stops < 2 or frames < 1:
        raise UserError(f"a walk has 2 stops or more and frames between; {stops} x {frames} given")
    ask = generator.ask(stops, seed, label, None, truncation)
    t = torch.arange(frames) / frames
    t = (1 - torch.cos(math.pi * t)) / 2
    following = Ask(*(None if v is None else v.roll(-1, 0) for v in ask))
    return generator.make(between(generator.latent, ask, following, t))


# -- directions -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Directions:
    """Unit vectors in the latent space, the strongest first.

    Attributes:
        vectors: (K, width).
        strengths: (K,) how much each moves what is listened to.
        method: one of METHODS.
        total: the squared strengths of all that there are, these being the first.
    """

    vectors: Tensor
    strengths: Tensor
    method: str
    total: float = math.nan

    @property
    def shares(self) -> list[float]:
        """The share of all the change that each makes; nan where a file does not say."""
        return (self.strengths.square() / (self.total or 1.0)).tolist()

    def save(self, path: Path) -> None:
        """As safetensors."""
        tensors = {"vectors": self.vectors.contiguous(), "strengths": self.strengths.contiguous()}
        about = {"ganforge": "directions", "method": self.method, "total": repr(self.total)}
        save_file(tensors, path, about)

    @classmethod
    def load(cls, path: Path, width: int) -> Directions:
        """Raises: UserError: it is no such file, or of another generator."""
        try:
            with safe_open(path, "pt") as f:
                meta = f.metadata() or {}
                vectors, strengths = f.get_tensor("vectors"), f.get_tensor("strengths")
            total = float(meta.get("total", "nan"))
        except (OSError, SafetensorError, ValueError) as e:
            raise UserError(
                f"{path} holds no directions ({e}); make them with 'ganforge directions RUN'"
            ) from None
        whole = vectors.dim() == 2 and bool(vectors.isfinite().all())
        if not whole or vectors.shape[1] != width:
            raise UserError(
                f"{path} has directions {tuple(vectors.shape)}, this generator's latent has the "
                f"width {width}; make them from this run"
            )
        return cls(vectors, strengths, meta.get("method", ""), total)


def directions(
    generator: Generator,
    count: int = 5,
    method: str = "auto",
    label: str | int | None = None,
    samples: int = 1000,
) -> Directions:
    """What moves a generator most, without labels; codes are left as they are.

    Args:
        count: how many.
        method: "auto" takes the first of these that fits: "sefa", the eigenvectors of A^T A, A being the weight of the first layer over
            the noise (Shen and Zhou 2020, arXiv 2007.06600); "pca", the principal components
            of an early layer's values over random latents, regressed back to noise (Härkönen
            et al. 2020, arXiv 2004.02546); or "pictures", those of small copies of the
            samples themselves, which asks nothing of the network.
        label: of the random latents, a class; None takes all classes in turn.
        samples: how many random latents.

    Raises:
        UserError: an unknown method or class, no latent, or no linear layer over all of the
            noise ("sefa").
    """
    width = need_latent(generator)
    assert generator.latent is not None
    noise = generator.latent.size
    if method not in ("auto", *METHODS):
        raise UserError(f"method {method!r} is unknown; choose one of auto, {', '.join(METHODS)}")
    if not 1 <= count <= noise:
        raise UserError(f"there are 1 to {noise} directions; {count} were asked for")
    first = first_layer(generator) if method in ("auto", "sefa") else None
    if method == "sefa" and first is None:
        raise UserError(
            f"no linear layer of {generator.run.path} takes the whole latent, as SeFa needs; use "
            "--method pca"
        )
    if method == "auto":
        method = "sefa" if first is not None else "pictures" if _around(generator) else "pca"
    if first is not None:
        weight = first.weight.detach().float().cpu()[:, :noise]
        values, vectors = torch.linalg.eigh(weight.T @ weight)
        squares, found = values.flip(0).clamp(min=0), vectors.T.flip(0)[:count]
    else:
        z, said = _heard(generator, method, samples, label)
        said = said - said.mean(0)
        values, axes = torch.linalg.eigh(said @ said.T)  # as many as latents, not as values
        squares = values.flip(0).clamp(min=0) / samples
        scores = axes.flip(1)[:, :count] * (samples * squares[:count]).sqrt()
        # The noise that goes with each component: least squares on its coordinate.
        found = torch.linalg.lstsq(scores, z[:, :noise] - z[:, :noise].mean(0)).solution
    whole = torch.zeros(count, width)
    whole[:, :noise] = signed(nn.functional.normalize(found, dim=1))
    return Directions(whole, squares[:count].sqrt(), method, float(squares.sum()))


def signed(vectors: Tensor) -> Tensor:
    """Each turned so that its largest component is positive: the sign means nothing."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def _around(generator: Generator) -> bool:
    """Whether much of what z does goes past the layers."""
    return any(isinstance(m, FromComponents) for m in generator.nets.modules())


def first_layer(generator: Generator) -> nn.Linear | None:
    """The first linear layer whose input begins with all of the noise; None where each block gets
    a part of it."""
    if _around(generator):
        return None
    ask = generator.ask(4)
    assert ask.latent is not None
    assert generator.latent is not None
    noise = ask.latent[:, : generator.latent.size].to(generator.device)
    for layer, given in _passed(generator, ask):
        same = given.dim() == 2 and given.shape[1] >= noise.shape[1]
        if isinstance(layer, nn.Linear) and same and torch.equal(given[:, : noise.shape[1]], noise):
            return layer
    return None


def early_layer(generator: Generator) -> nn.Module:
    """The first convolution that a sample passes, or where there is none the second linear
    layer, or the only one."""
    layers = [layer for layer, _ in _passed(generator, generator.ask(4))]
    if not layers:
        raise UserError(f"{generator.run.path} has no layer to listen to")
    linear = [m for m in layers if isinstance(m, nn.Linear)]
    conv = [m for m in layers if not isinstance(m, nn.Linear)]
    return conv[0] if conv else linear[min(1, len(linear) - 1)]


@torch.no_grad()
def _passed(generator: Generator, ask: Ask) -> list[tuple[nn.Module, Tensor]]:
    """The layers with weights in the order in which a request passes them, each with what it
    was given."""
    seen: list[tuple[nn.Module, Tensor]] = []
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    layers = [m for net in generator.nets.values() for m in net.modules() if isinstance(m, kinds)]
    handles = [
        m.register_forward_pre_hook(lambda layer, given: seen.append((layer, given[0].detach())))
        for m in layers
    ]
    try:
        generator.make(ask)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@torch.no_grad()
def _heard(
    generator: Generator, method: str, n: int, label: str | int | None
) -> tuple[Tensor, Tensor]:
    """n latents (n, width) and what is said of each (n, F): by an early layer, or by small
    copies of the samples."""
    said: list[Tensor] = []
    handle = small = None
    if method == "pca":
        layer = early_layer(generator)
        handle = layer.register_forward_hook(lambda _m, _i, out: said.append(out.float().cpu()))
    else:
        small = raw(tuple(generator.spec.shape))
    asked = []
    try:
        for start in range(0, n, 250):
            ask = generator.ask(min(250, n - start), 0, label, None, 1.0, start)
            assert ask.latent is not None
            asked.append(ask.latent)
            made = generator.make(ask)
            if small is not None:
                said.append(small(made))
    finally:
        if handle is not None:
            handle.remove()
    z = torch.cat(asked)
    return z, torch.cat(said)[: len(z)].flatten(1)


def along(
    generator: Generator,
    found: Directions,
    *,
    steps: int = 7,
    reach: float = 3.0,
    seed: int = 0,
    label: str | int | None = None,
) -> Tensor:
    """(K * steps, *shape): one sample moved along each direction, a row each, from -reach to
    reach deviations of the noise."""
    ask = generator.ask(1, seed, label)
    assert ask.latent is not None
    assert generator.latent is not None
    far = torch.linspace(-reach, reach, steps).view(1, -1, 1) * _deviation(generator)
    z = (ask.latent[:, None] + far * found.vectors[:, None]).flatten(0, 1)
    y = None if ask.label is None else ask.label.expand(len(z))
    return generator.make(Ask(generator.latent.within(z), y))


def moved(ask: Ask, text: str, generator: Generator) -> Tensor:
    """The latents of a request moved as FILE:NUMBER=STRENGTH says, (N, width).

    Raises:
        UserError: the text is none of this kind, or there is no such direction.
    """
    place, equals, amount = text.rpartition("=")
    file, colon, number = place.rpartition(":")
    which, strength = -1, 0.0
    try:
        which, strength = int(number), float(amount)
    except ValueError:
        colon = ""
    if not (equals and colon):
        raise UserError(
            f"--direction takes FILE:NUMBER=STRENGTH such as d.safetensors:0=2; {text!r}"
        )
    found = Directions.load(Path(file), need_latent(generator))
    if not 0 <= which < len(found.vectors):
        raise UserError(
            f"{file} has directions 0 to {len(found.vectors) - 1}; {which} was asked for"
        )
    assert ask.latent is not None
    assert generator.latent is not None
    step = strength * _deviation(generator) * found.vectors[which]
    return generator.latent.within(ask.latent + step)


def _deviation(generator: Generator) -> float:
    """Of the noise: what directions are measured in."""
    assert generator.latent is not None
    return 3**-0.5 if generator.latent.kind == "uniform" else 1.0


# -- sheets ---------------------------------------------------------------------------------
MOST_ROWS = 30


def traversal(
    generator: Generator,
    count: int = 4,
    seed: int = 0,
    label: str | int | None = None,
    steps: int = 9,
    reach: float = 2.0,
) -> list[Block]:
    """For each code a block: a sample a row, and a column for each value, of a category all,
    of a continuous code from -reach to reach, as in the paper (Chen et al. 2016, arXiv
    1606.03657, figure 2; trained were -1 to 1).

    Raises:
        UserError: it has no codes.
    """
    need_latent(generator)
    latent = generator.latent
    assert latent is not None
    if not (latent.categorical or latent.continuous):
        raise UserError(
            f"{generator.run.path} has no codes to traverse (recipe {generator.config['recipe']}); "
            f"'ganforge directions {generator.run.path}' finds what moves it, infogan learns codes"
        )
    ask = generator.ask(count, seed, label)
    assert ask.latent is not None
    blocks = []
    for i in range(len(latent.categorical) + latent.continuous):
        category = i < len(latent.categorical)
        values = (
            [float(v) for v in range(latent.categorical[i])]
            if category
            else torch.linspace(-reach, reach, steps).tolist()
        )
        z = torch.stack([latent.set_code(ask.latent, i, v) for v in values], 1).flatten(0, 1)
        y = None if ask.label is None else ask.label.repeat_interleave(len(values))
        kind = "a category" if category else "continuous, trained from -1 to 1"
        rows = [f"sample {n}" for n in range(count)]
        columns = [f"{v:g}" for v in values]
        blocks.append(Block(generator.make(Ask(z, y)), rows, columns, f"code {i}: {kind}"))
    return blocks


def classes(
    generator: Generator,
    count: int = 8,
    seed: int = 0,
    labels: Sequence[str | int] = (),
    truncation: float = 1.0,
) -> list[Block]:
    """A class a row, of the same latents: what changes along a column is the class alone.

    Raises:
        UserError: it knows no classes, or too many for one sheet.
    """
    need_latent(generator)
    total = generator.spec.classes
    if not labels and total > MOST_ROWS:
        raise UserError(
            f"{generator.run.path} has {total} classes and a sheet shows {MOST_ROWS}; choose some "
            "with --label, once for each"
        )
    # Without classes, the first look-up says so.
    chosen = [generator.label(v) for v in (labels or range(max(total, 1)))]
    ask = generator.ask(count, seed, truncation=truncation)
    assert ask.latent is not None
    z, y = ask.latent.repeat(len(chosen), 1), torch.tensor(chosen).repeat_interleave(count)
    known = list(generator.classes)
    names = legible([known[i] if i < len(known) else f"class {i}" for i in range(total)])
    columns = [f"z{i}" for i in range(count)]
    return [Block(generator.make(Ask(z, y)), [names[i] for i in chosen], columns)]


def truncations(
    generator: Generator,
    count: int = 10,
    seed: int = 0,
    label: str | int | None = None,
    values: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
) -> list[Block]:
    """A truncation a row, of latents that lie at the same quantiles of each distribution; the
    last row is what `sample` makes of the seed.

    Raises:
        UserError: no latent, or a truncation that is not in (0, 1].
    """
    need_latent(generator)
    latent = generator.latent
    assert latent is not None
    ask = generator.ask(count, seed, label)
    assert ask.latent is not None
    rows = []
    for value in values:
        if not 0 < value <= 1:
            raise UserError(f"truncation lies in (0, 1]; {value:g} was given")
        noise = latent.noise(latent.quantile(ask.latent), value)
        whole = torch.cat([noise, ask.latent[:, latent.size :]], 1)
        rows.append(whole if value < 1 else ask.latent)
    y = None if ask.label is None else ask.label.repeat(len(values))
    columns = [f"z{i}" for i in range(count)]
    x = generator.make(Ask(torch.cat(rows), y))
    return [Block(x, [f"truncation {v:g}" for v in values], columns)]


# -- inversion ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Inverted:
    """The latents found for pictures.

    Attributes:
        latent: (N, width).
        label: (N,), or None.
        made: (N, *shape) what the generator makes of them.
        psnr: (N,) dB to the pictures.
    """

    latent: Tensor
    label: Tensor | None
    made: Tensor
    psnr: Tensor

    def save(self, path: Path) -> None:
        """As safetensors."""
        tensors = {"latent": self.latent.contiguous()}
        if self.label is not None:
            tensors["label"] = self.label.contiguous()
        save_file(tensors, path, {"ganforge": "latents"})


def load_latents(path: Path, generator: Generator) -> Ask:
    """Latents that `invert` saved, as a request.

    Raises:
        UserError: it is no such file, or of another generator.
    """
    width = need_latent(generator)
    try:
        with safe_open(path, "pt") as f:
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as e:
        raise UserError(
            f"{path} holds no latents ({e}); make them with 'ganforge invert'"
        ) from None
    z = tensors.get("latent")
    if z is None or z.dim() != 2 or z.shape[1] != width or not z.isfinite().all():
        have = "none" if z is None else tuple(z.shape)
        raise UserError(f"{path} has latents {have}; this generator takes finite (N, {width})")
    label = tensors.get("label")
    classes = generator.spec.classes
    if classes and label is not None:
        fits = label.shape == (len(z),) and label.dtype == torch.int64
        if not fits or not 0 <= int(label.min()) <= int(label.max()) < classes:
            raise UserError(f"{path} has labels that are not (N,) integers below {classes}")
    if generator.spec.classes and label is None:
        label = torch.arange(len(z)) % generator.spec.classes
    return Ask(z, label if generator.spec.classes else None)


def invert(
    generator: Generator,
    pictures: Tensor,
    *,
    label: str | int | None = None,
    steps: int = 300,
    starts: int = 8,
    tried: int = 1000,
    rate: float = 0.05,
    seed: int = 0,
    say: Callable[[int, int], None] | None = None,
) -> Inverted:
    """Latents whose samples are like given pictures: of `tried` random ones the `starts`
    nearest are followed down the mean square by Adam (Zhu et al. 2016, arXiv 1609.03552), kept
    near the length that latents have.

    Args:
        pictures: (N, *shape) in [-1, 1].

    Raises:
        UserError: no latent, or pictures of another shape.
    """
    width = need_latent(generator)
    if tuple(pictures.shape[1:]) != tuple(generator.spec.shape):
        raise UserError(
            f"the pictures are {tuple(pictures.shape[1:])}, this generator makes "
            f"{tuple(generator.spec.shape)}; bring them to that size"
        )
    latent = generator.latent
    assert latent is not None
    # Of other draws than `sample` makes, so that nothing is found that was there already.
    pool = generator.ask(tried, abs(draws.key(seed, "invert")) % 2**31, label)
    assert pool.latent is not None
    gaps = []
    for start in range(0, tried, 128):
        y = None if pool.label is None else pool.label[start : start + 128]
        some = generator.make(Ask(pool.latent[start : start + 128], y)).flatten(1)
        gaps.append(torch.cdist(pictures.flatten(1), some))
    distance = torch.cat(gaps, 1)
    device, found = generator.device, []
    fixed = slice(latent.size, latent.width - latent.continuous)  # categories stay what they are
    for i, target in enumerate(pictures):
        near = distance[i].topk(min(starts, tried), largest=False).indices
        z = pool.latent[near].to(device).clone().requires_grad_()
        y = None if pool.label is None else pool.label[near].to(device)
        goal = target.to(device)
        optimiser = torch.optim.Adam([z], rate)
        best, best_gap = z.detach().clone(), torch.full((len(z),), math.inf, device=device)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            with draws.keyed(seed, "invert", torch.arange(len(z))):
                made = generator.objective.sample(generator.nets, Ask(z, y))
            loss = (made.float() - goal).square().flatten(1).mean(1)
            better = loss.detach() < best_gap
            best = torch.where(better[:, None], z.detach(), best)
            best_gap = torch.minimum(loss.detach(), best_gap)
            optimiser.zero_grad()
            (loss.sum() + 1e-4 * (z.square().mean(1) - 1).clamp(min=0).sum()).backward()
            assert z.grad is not None
            z.grad[:, fixed] = 0
            optimiser.step()
            with torch.no_grad():
                z.copy_(latent.within(z))
        winner = int(best_gap.argmin())
        chosen = None if y is None else y[winner].cpu()
        found.append((best[winner].cpu(), chosen, best_gap[winner].cpu()))
        if say is not None:
            say(i + 1, len(pictures))
    z = torch.stack([f[0] for f in found]).view(-1, width)
    labels = None if found[0][1] is None else torch.stack([f[1] for f in found])  # type: ignore[misc]
    psnr = 10 * (4 / torch.stack([f[2] for f in found]).clamp(min=4e-10)).log10()
    return Inverted(z, labels, generator.make(Ask(z, labels)), psnr)


# -- moving pictures ------------------------------------------------------------------------
def film(frames: Tensor, path: Path, per_second: int = 20) -> None:
    """Write samples (N, *shape), or (N, K, *shape) for K side by side, as a GIF or WebP, or
    where ffmpeg is installed as an MP4.

    Raises:
        UserError: another ending, or no ffmpeg.
    """
    form = path.suffix.lower().removeprefix(".")
    if form in ("gif", "webp", "mp4"):
        try:
            path.write_bytes(animation(frames, form, per_second))
        except UserError as e:
            raise UserError(f"{path}: {e}") from None
    else:
        raise UserError(f"{path} has an unknown ending; use .gif, .webp, .mp4 or .png")


def animation(frames: Tensor, form: str, per_second: int = 20, back: bool = False) -> bytes:
    """Samples, as for `film`, as a GIF or WebP for ever, or as an MP4; `back`: there and back
    again."""
    shown = stills(frames)
    if form == "gif":
        shown = [i.quantize(64) for i in shown]
    if back:
        shown += shown[-2:0:-1]
    if form == "mp4":
        return _mp4(shown, per_second)
    file = io.BytesIO()
    exact: dict[str, Any] = {"lossless": True, "method": 2} if form == "webp" else {}
    shown[0].save(file, form.upper(), save_all=True, append_images=shown[1:],
                  duration=round(1000 / per_second), loop=0, **exact)  # fmt: skip
    return file.getvalue()


def ffmpeg() -> str | None:
    """The program that makes an MP4, where it is installed."""
    return shutil.which("ffmpeg")


def _mp4(images: list[Any], per_second: int) -> bytes:
    """H.264 that every browser and player takes, its index first.

    Raises:
        UserError: there is no ffmpeg, or it fails.
    """
    program = ffmpeg()
    if program is None:
        raise UserError("MP4 needs ffmpeg, which is not installed; use a .gif")
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2"  # as the codec wants sides
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        command = [program, "-v", "error", "-f", "image2pipe", "-r", str(per_second), "-i", "-",
                   "-vf", even, "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]  # fmt: skip
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):  # it says why itself
            for image in images:
                image.save(process.stdin, "PNG")
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        said = process.stderr.read().decode()
        process.stderr.close()
        if process.wait():
            raise UserError(f"ffmpeg could not make the film: {said.strip()[:200]}")
        return path.read_bytes()
