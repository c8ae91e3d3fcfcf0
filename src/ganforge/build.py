"""From a `Config` to plain objects: the game, its networks, its trainer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ganforge import draws
from ganforge.config import Config
from ganforge.errors import UserError
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Family, Objective, TwoPlayer
from ganforge.objectives.terms import Fidelity
from ganforge.recipes import Recipe, named
from ganforge.spec import Spec

if TYPE_CHECKING:
    from ganforge.training.distributed import World
    from ganforge.training.trainer import Source, Trainer


@dataclass(frozen=True)
class Own:
    """Classes or objects of the user's own, in place of registered names."""

    objective: Objective | type[Objective] | None = None
    family: Family | type[Family] | None = None


@dataclass(frozen=True)
class Game:
    """A game ready to be played or sampled from."""

    config: Config
    spec: Spec
    objective: Objective
    nets: nn.ModuleDict
    device: torch.device


def pick_device(asked: str) -> torch.device:
    """`auto` is the accelerator if there is one.

    Raises:
        UserError: the device asked for is unknown, or not there.
    """
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if asked == "auto":
        asked = next((d for d in ("cuda", "mps") if have[d]), "cpu")
    if not have.get(asked):
        there = ", ".join(d for d, ok in have.items() if ok)
        what = "not available here" if asked in have else "unknown"
        raise UserError(f"--device {asked} is {what}; choose one of auto, {there}")
    if asked == "cuda":
        import os

        local, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= devices:
            raise UserError(
                f"this is process {local + 1} of this host, which has {devices} CUDA devices; use "
                f"--nproc-per-node {devices}, or --device cpu"
            )

        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(asked)


def build_game(config: Config, own: Own | None = None, device: torch.device | None = None) -> Game:
    """The game of a configuration, its networks freshly initialised by its seed; on the
    processor, where neither an argument nor the configuration names a device."""
    own = own or Own()
    device = device or pick_device("cpu" if config.device == "auto" else config.device)
    latent = Latent(**config.latent.model_dump())
    spec = Spec(config.spec.shape, config.spec.classes, config.spec.source)
    objective = _objective(config, own, latent)
    for name, weight in config.terms.items():
        from ganforge.objectives import term

        extra = term(name, weight)  # names are checked whatever they weigh
        if weight:
            objective.add(extra)
    if config.pairs or config.warmup or not config.data_options.get("paired", True):
        _for_sources(config, objective)
    family = _family(config, own)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draws.key(config.seed, "networks"))
        nets = objective.networks(family, spec)
    if config.components:
        nets["G"] = _from_components(config, objective, nets, spec)
    if config.augment:
        _augment(config, objective, nets)
    damage = config.data_options.get("degrade")
    if damage and "G" in nets:
        from ganforge.data.degrade import degradation
        from ganforge.families.blocks import Filling

        if degradation(damage).fills:
            nets["G"] = Filling(nets["G"])
    if len(spec.shape) == 3:
        nets = nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Game(config, spec, objective.to(device), nets.to(device), device)


def _augment(config: Config, objective: Objective, nets: nn.ModuleDict) -> None:
    """Put the critics behind augmentations, whose probability adapts where a target is set."""
    from ganforge.data.augment import Augment, Augmented
    from ganforge.objectives.adaptive import Adaptive

    target = config.augment_target
    first = config.augment_p if config.augment_p is not None else float(target is None)
    augments, there = [], [k for k in objective.critics if k in nets]
    if not there:
        raise UserError(
            f"augment changes what critics see, and {type(objective).__name__} has no network "
            f"{' or '.join(objective.critics)}; name its critics in `critics`, or say augment="
        )
    for name in there:
        augments.append(Augment(config.augment, first))
        nets[name] = Augmented(nets[name], augments[-1])
    if target is not None:
        objective.look_on(Adaptive(augments, target, config.batch_size))


def _for_sources(config: Config, objective: Objective) -> None:
    """What concerns games over sources alone.

    Raises:
        UserError: the game is none, or nobody could move while warming.
    """
    if config.pairs:
        if not isinstance(objective, TwoPlayer):
            raise UserError(
                f"pairs=true is for a game with a D, which {config.objective!r} has not; "
                "use --set pairs=false"
            )
        objective.pairs = True
    if not config.data_options.get("paired", True):
        compared = [f"--add {t.name}=0" for ts in objective.terms.values() for t in ts if isinstance(t, Fidelity)]  # fmt: skip
        compared += ["--set pairs=false"] * config.pairs
        if compared:
            raise UserError(
                "paired=false gives each sample a source that it was not made from, and this game "
                f"compares the two; use {' '.join(compared)}, or --set paired=true"
            )
        if config.spec.classes:
            raise UserError(
                "paired=false gives each sample a source that is not of its class, so that a label "
                "would mean nothing; use --set conditioning=none, or --set paired=true"
            )
    objective.warming = config.warmup > 0
    able = [p.name for p in objective.players() if objective.moves(p)]
    objective.warming = False
    if config.warmup and not able:
        raise UserError(
            f"warmup={config.warmup} trains by extra terms alone, and the generator of this game "
            "has none that asks no critic; add one (--add l1=1), or use --set warmup=0"
        )


def _from_components(
    config: Config, objective: Objective, nets: nn.ModuleDict, spec: Spec
) -> nn.Module:
    """G, beginning with the data's principal components; `show_components` lets it see the data.

    Raises:
        UserError: it does not start from normal latents, or from fewer numbers than components.
    """
    from ganforge.families.components import FromComponents

    latent, k = objective.latent, config.components
    if latent is None or latent.kind != "normal" or spec.source or "G" not in objective.sampled:
        raise UserError(
            f"components={k} is for a generator that starts from normal latents, which this one "
            "does not; use --set components=0"
        )
    if latent.size < k:
        raise UserError(
            f"components={k} takes as many numbers of z, which has {latent.size} that are no "
            f"codes; use --set components={latent.size} or fewer, or --set latent.size={k}"
        )
    return FromComponents(nets["G"], spec.shape, spec.classes, k)


def show_components(game: Game, data: Source) -> None:
    """Let a generator that begins with components take them from the data, where it has none."""
    from ganforge.families.components import FromComponents, looked_at
    from ganforge.training.trainer import order

    seed = game.config.seed
    for net in game.nets.children():
        if isinstance(net, FromComponents) and not net.means.any():
            n = looked_at(game.spec.shape, len(data))
            batch = data.batch(order(data, seed, game.config.batch_size).at(0, n))
            net.fit(batch.real, batch.label, seed)


def build_trainer(
    game: Game, data: Source, world: World | None = None, fresh: bool = True
) -> Trainer:
    """The trainer of a game; not `fresh` where a checkpoint follows."""
    from ganforge.training.trainer import Trainer, make_optimisers

    c = game.config
    if fresh:
        show_components(game, data)
    names = [p.name for p in game.objective.players()]
    stray = set(c.rates) - set(names)
    if stray:
        raise UserError(f"lr.{stray.pop()} names no player of this game; it has {', '.join(names)}")
    optimisers = make_optimisers(
        game.objective,
        game.nets,
        kind=c.optimiser,
        rates={n: c.rates.get(n, c.lr) for n in names},
        betas=c.betas,
        eps=c.eps,
    )
    trainer = Trainer(
        game.objective,
        game.nets,
        optimisers,
        data,
        batch_size=c.batch_size,
        seed=c.seed,
        horizon=c.horizon,
        rate_end=c.rate_end,
        ema=c.ema,
        ema_ramp=c.ema_ramp,
        clip=c.clip,
        warmup=c.warmup,
        precision=torch.bfloat16 if c.precision == "bf16" else None,
        world=world,
    )
    if c.compiled:
        _compile(game)  # after the trainer has made its averaged copies, which stay as they are
    return trainer


def _compile(game: Game) -> None:
    """Let torch.compile translate the networks when they are first used. Parameters and their
    names stay. What draws random numbers is left out, as those are keyed by the sample; so is a D
    whose gradient is penalised, which torch.compile cannot differentiate twice, and what has
    spectral norm, whose iteration it takes for a change of what the backward pass needs.

    Raises:
        UserError: there is no compiler for this device, or nothing is left.
    """
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.nn.utils.parametrize import is_parametrized

    from ganforge.data.augment import Augmented
    from ganforge.families.blocks import Dropout
    from ganforge.families.wavegan import PhaseShuffle

    if game.device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler:
            raise UserError(
                "compiled=true needs a C++ compiler on this device and none was found; install g++ or "
                "clang, or leave it out"
            ) from None
    objective = game.objective
    terms = [t for ts in objective.terms.values() for t in ts]
    twice = getattr(objective, "per_sample", False) or any(t.per_sample for t in terms)
    able = [
        net.critic if isinstance(net, Augmented) else net
        for name, net in game.nets.items()
        if not (name == "D" and twice) and not any(map(is_parametrized, net.modules()))
    ]
    if not able:
        raise UserError(
            "compiled=true changes nothing here: spectral norm and penalties of D's gradient cannot be "
            "compiled, and every network of this game has one; leave it out"
        )
    for net in able:
        for part in net.modules():
            if isinstance(part, (Dropout, PhaseShuffle)):
                part.forward = torch.compiler.disable(part.forward)  # type: ignore[assignment]
        if hasattr(net, "outputs"):
            net.outputs = torch.compile(net.outputs)  # type: ignore
        else:
            net.compile()


def _objective(config: Config, own: Own, latent: Latent) -> Objective:
    from ganforge.objectives import OBJECTIVES, make_objective

    if isinstance(own.objective, Objective):
        return copy.deepcopy(own.objective)  # a game adds terms to it, and may be built twice
    options = dict(config.objective_options)
    if own.objective is not None:
        return own.objective(**{"latent": latent, **options})
    if config.objective not in OBJECTIVES:
        raise _missing(config, "objective", config.objective)
    return make_objective(config.objective, latent=latent, **options)


def _family(config: Config, own: Own) -> Family:
    from ganforge.families import FAMILIES, family

    if own.family is not None:
        if isinstance(own.family, type):
            return own.family(**config.family_options)
        return own.family
    if config.family not in FAMILIES:
        raise _missing(config, "family", config.family)
    return family(config.family, **config.family_options)


def _missing(config: Config, what: str, name: str) -> UserError:
    return UserError(
        f"this run was made with your own {what} {name!r} (recipe {config.recipe}); pass it again: "
        f"--recipe ./FILE.py:NAME, or {what}=... in Python"
    )


def own_of(recipe: Recipe) -> Own:
    """The parts of a recipe that are no registered names."""
    parts = {k: getattr(recipe, k) for k in ("objective", "family")}
    return Own(**{k: None if isinstance(v, str) else v for k, v in parts.items()})


def own_names(own: Own) -> dict[str, str]:
    """What config.yaml calls one's own parts."""
    out = {}
    for key in ("objective", "family"):
        part = getattr(own, key)
        if part is not None:
            out[key] = named(part if isinstance(part, type) else type(part))
    return out
