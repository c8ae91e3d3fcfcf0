"""argv, YAML or a form -> one frozen, validated `Config` -> plain objects.

Settings are flat keys as `--set` takes them. A key is a field of `Config`; `latent.NAME`;
`lr.PLAYER`; an option of the objective (`objective.NAME`) or of the family (`family.NAME`).
The prefix may be left out where only one owner has that name.
"""

from __future__ import annotations

import difflib
import inspect
import json
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ganforge import __version__
from ganforge.errors import UserError
from ganforge.recipes import Recipe, named, names

FORMAT = 1
Share = Annotated[float, Field(ge=0, lt=1)]


class LatentConfig(BaseModel):
    """The latent: see `ganforge.objectives.latent.Latent`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = Field(64, ge=0)
    kind: Literal["normal", "uniform", "truncated"] = "normal"
    categorical: tuple[Annotated[int, Field(ge=2)], ...] = ()
    continuous: int = Field(0, ge=0)


class SpecConfig(BaseModel):
    """The shape of the samples: see `ganforge.spec.Spec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    shape: tuple[int, ...]
    classes: int = 0
    source: tuple[int, ...] | None = None


class Config(BaseModel):
    """Everything that a run was asked for, complete. Saved before the first batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    ganforge: str = __version__
    recipe: str
    data: str = Field(description="the source of the samples")
    data_options: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    spec: SpecConfig
    class_names: list[str] = []

    objective: str
    objective_options: dict[str, Any] = {}
    family: str
    family_options: dict[str, Any] = {}
    terms: dict[str, float] = {}
    latent: LatentConfig = Field(default_factory=lambda: LatentConfig.model_validate({}))
    conditioning: Literal["none", "concat", "projection", "auxiliary"] = "none"
    components: int = Field(
        0, ge=0, description="principal components of the data that the generator begins with"
    )
    augment: str = Field(
        "", description="what D sees is changed by: color,translation,cutout,flip,affine,noise"
    )
    augment_p: float | None = Field(
        None, ge=0, le=1, description="how probably; 1, or 0 at first where it adapts"
    )
    augment_target: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="the probability adapts: D is to tell so many more reals than not",
    )

    pairs: bool = Field(False, description="D sees each sample together with its source")
    warmup: int = Field(0, ge=0, description="images before D and its game join the extra terms")

    batch_size: int = Field(64, ge=1, description="samples of a move, over all processes")
    optimiser: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = Field(2e-4, gt=0)
    rates: dict[str, float] = Field({}, description="rates of single players, by name")
    rate_end: float = Field(1.0, gt=0, le=1, description="final rate as a share of the first")
    betas: tuple[Share, Share] = (0.5, 0.999)
    eps: float = Field(1e-8, gt=0)
    clip: float | None = Field(None, gt=0, description="bound of each gradient component")
    ema: float = Field(10_000, ge=0, description="half-life of the average, in images")
    ema_ramp: float = Field(0.05, ge=0)
    horizon: int | None = Field(None, ge=1, description="images over which schedules run")
    precision: Literal["fp32", "bf16"] = "fp32"
    compiled: bool = Field(False, description="networks by torch.compile, which takes a minute")

    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    steps: int | None = Field(None, ge=1)
    images: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    start_from: str | None = Field(None, description="the run whose networks this one began with")
    plan: list[str] = Field([], description="why these settings: the reasons, one a line")

    def plain(self) -> dict[str, Any]:
        """As plain data for config.yaml."""
        return self.model_dump(mode="json")


BUDGET = ("steps", "images", "minutes")
# Set by the data and the recipe, never by hand.
DERIVED = {"format", "ganforge", "recipe", "data", "data_options", "dataset", "spec", "class_names",
           "objective_options", "family_options", "terms", "rates", "latent", "start_from",
           "plan"}  # fmt: skip


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE strings to a dictionary; values are YAML ("1e-4", "[0, .9]", "none")."""
    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (equals and key.strip()):
            raise UserError(f"--set takes KEY=VALUE; {pair!r} was given")
        out[key.strip()] = parse_value(text)
    return out


def parse_value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        if value.lower() == "none":
            return None
        try:
            return float(value)
        except ValueError:
            return value
    return value


def parse_terms(pairs: Iterable[str]) -> dict[str, float]:
    """TERM=WEIGHT strings of `--add`."""
    out: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            out[name.strip()] = float(text) if equals else 1.0
        except ValueError:
            raise UserError(f"--add takes TERM=WEIGHT with a number; {pair!r} was given") from None
    return out


def check_game(objective: Any) -> None:
    """Raises:
    UserError: a recipe's name was given for a game's.
    """
    from ganforge.objectives import OBJECTIVES

    if isinstance(objective, str) and objective not in OBJECTIVES and objective in names():
        raise UserError(f"{objective!r} is a recipe, and no objective; use --recipe {objective}")


def term_weights(terms: Any) -> dict[str, float]:
    """The setting `terms`, by name.

    Raises:
        UserError: it is no table of numbers.
    """
    try:
        return TypeAdapter(dict[str, float]).validate_python(terms or {})
    except ValidationError:
        raise UserError(f"terms={terms!r} does not fit; use --add TERM=WEIGHT") from None


def resolve(
    recipe: Recipe,
    settings: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    source: tuple[int, ...] | None = None,
    class_names: list[str] | None = None,
    terms: Mapping[str, float] | None = None,
    rules: Any = None,
    **fixed: Any,
) -> Config:
    """The recipe's settings, changed by the user's, checked against what there is.

    Args:
        recipe: where to start from.
        settings: flat keys, see the module's docstring.
        shape: shape of a sample, from the data.
        source: shape of an input sample, or None.
        class_names: of the data's labels.
        terms: extra terms and their weights.
        rules: the objective that is played, where it is an object of one's own.
        fixed: fields of `Config` that are not settings (recipe, data, dataset, plan).

    Raises:
        UserError: an unknown key, a value of the wrong kind, a combination that cannot work.
    """
    from ganforge.objectives import objective_class

    merged = {**recipe.settings, **settings}
    game = merged.pop("objective", recipe.objective)
    family = merged.pop("family", recipe.family)
    asked = {**term_weights(settings.get("terms")), **(terms or {})}
    extra = {**recipe.settings.get("terms", {}), **asked}
    merged.pop("terms", None)
    check_game(game)
    options_of = objective_class(game) if isinstance(game, str) else game
    rules = options_of if rules is None else rules
    who = named(game if rules is options_of else type(rules))
    owners = {
        "objective": hints(options_of, {"latent"}),
        "family": hints(_family_class(family) if isinstance(family, str) else family, set()),
        "latent": {k: f.annotation for k, f in LatentConfig.model_fields.items()},
    }
    fields = {k for k in Config.model_fields if k not in DERIVED}
    parts: dict[str, dict[str, Any]] = {"objective": {}, "family": {}, "latent": {}, "lr": {}}
    top: dict[str, Any] = {}
    exchanged = game != recipe.objective
    for key, value in merged.items():
        owner, dot, name = key.partition(".")
        if dot and owner == "lr":
            # A recipe's rates of single players give way to the user's one for all, and do not
            # follow into a game that has other players.
            if key in settings or not ("lr" in settings or (exchanged and rules.alone)):
                parts["lr"][name] = value
        elif dot and owner == "train" and name in fields:
            top[name] = _nothing(value, Config.model_fields[name].annotation)
        elif dot and owner in owners:
            if name not in owners[owner]:
                raise _unknown(key, [f"{owner}.{k}" for k in owners[owner]])
            parts[owner][name] = value
        elif (
            key in fields
            and key in settings
            and key != "conditioning"
            and (also := [o for o in ("objective", "family") if key in owners[o]])
        ):
            raise UserError(
                f"{key!r} is an option of the training and of the {also[0]}; say train.{key} or "
                f"{also[0]}.{key}"
            )
        elif key in fields:
            top[key] = _nothing(value, Config.model_fields[key].annotation)
        else:
            having = [o for o in ("objective", "family") if key in owners[o]]
            # A recipe's own options do not follow when its objective or family is exchanged.
            if not having and key in recipe.settings and key not in settings:
                continue
            if len(having) == 2:
                raise UserError(
                    f"{key!r} is an option of both; say objective.{key} or family.{key}"
                )
            if not having:
                known = [*fields, *owners["objective"], *owners["family"], "latent.size", "lr.D"]
                raise _unknown(key, known)
            parts[having[0]][key] = value
    conditioning = top.get("conditioning", "none")
    if conditioning != "none" and "conditioning" in owners["family"]:
        said = conditioning == "auxiliary"  # D says the class; G is told it
        parts["family"].setdefault("conditioning", "concat" if said else conditioning)
    if conditioning != "none" and not class_names:
        raise UserError(
            f"recipe {recipe.name!r} makes samples by class, but these data have no labels; use "
            + (
                "a classes.json beside the shards, or "
                if "://" in str(fixed.get("data"))
                else "sub-folders as classes, or "
            )
            + "--set conditioning=none"
        )
    if conditioning != "none" and rules.labels == "ignored":
        raise UserError(
            f"objective {who!r} does not look at classes, so that a sample's label would mean "
            "nothing; use --set conditioning=none, or recipe cgan, acgan or biggan"
        )
    extra = _with_auxiliary(extra, asked, conditioning, rules, who)
    if source is not None and not rules.from_source:
        raise UserError(
            f"objective {who!r} starts from noise or from its samples, and these data have sources; "
            "drop degrade= or inputs=, or use --set objective=rpgan or regression"
        )
    _check_augment(top, {k.removeprefix("train.") for k, v in settings.items() if v}, rules, who)
    checked = {o: _typed(o, parts[o], owners[o]) for o in ("objective", "family")}
    spec = {"shape": shape, "classes": len(class_names or []) if conditioning != "none" else 0}
    body = {
        "recipe": recipe.name,
        "objective": named(game),
        "objective_options": checked["objective"],
        "family": named(family),
        "family_options": checked["family"],
        "latent": parts["latent"],
        "rates": parts["lr"],
        "terms": extra,
        "spec": spec | {"source": source},
        "class_names": class_names or [],
        **top,
        **fixed,
    }
    try:
        return Config(**body)
    except ValidationError as e:
        raise UserError(explain(e)) from None


def _with_auxiliary(
    terms: dict[str, float], asked: Mapping[str, float], conditioning: str, rules: Any, who: str
) -> dict[str, float]:
    """The terms, with those of an auxiliary classifier where that is the conditioning, and
    without a recipe's where it is not."""
    from ganforge.objectives.objective import TwoPlayer
    from ganforge.objectives.terms import AUXILIARY

    if conditioning != "auxiliary":
        given = [k for k in AUXILIARY if asked.get(k)]
        if given:
            raise UserError(
                f"--add {given[0]} belongs to a D that says the class; add --set conditioning=auxiliary"
            )
        return {k: v for k, v in terms.items() if k not in AUXILIARY}
    if not issubclass(rules if isinstance(rules, type) else type(rules), TwoPlayer):
        raise UserError(
            f"objective {who!r} has no D that could say the class; use --set "
            "conditioning=concat, or another objective"
        )
    terms = dict.fromkeys(AUXILIARY, 1.0) | terms
    if not (terms["class"] or terms["class-fake"]):
        raise UserError(
            "conditioning=auxiliary lets D learn the class by class and class-fake, and both weigh 0; "
            "use a weight above 0, or --set conditioning=concat"
        )
    return terms


def _check_augment(top: dict[str, Any], given: set[str], rules: Any, who: str) -> None:
    """Refuse what the user gave of augmentation and would do nothing; drop what a recipe has of it."""
    parts = {"augment", "augment_p", "augment_target"} & given
    if rules.alone:
        if parts:
            raise UserError(
                f"objective {who!r} has no discriminator, whose samples {min(parts)} would change; leave "
                "it out"
            )
        top |= {"augment": "", "augment_target": None}
    elif parts and not top.get("augment"):
        raise UserError(
            f"{max(parts)} is about what augment does, and nothing is chosen; add "
            "augment=color,translation,cutout"
        )


def arguments(config: Config) -> list[str]:
    """The words after `ganforge` that settle this configuration, whatever a recipe's defaults
    are then: the inverse of `resolve`. One's own classes have no name that could be said."""
    from ganforge.families import FAMILIES
    from ganforge.objectives import OBJECTIVES, objective_class

    own: set[str] = set()  # options that a setting of the training has the name of
    if config.objective in OBJECTIVES:
        own |= hints(objective_class(config.objective), {"latent"}).keys()
    if config.family in FAMILIES:
        own |= hints(_family_class(config.family), set()).keys()
    own -= {"conditioning"}
    words = ["train", config.data, "--recipe", config.recipe]
    for name in BUDGET:
        if (budget := getattr(config, name)) is not None:
            words += [f"--{name}", f"{budget:.10g}"]
    words += ["--seed", str(config.seed)]
    if config.start_from is not None:
        words += ["--from", config.start_from]
    fields = (k for k in Config.model_fields if k not in {*DERIVED, *BUDGET, "seed"})
    flat = {
        **config.data_options,
        **{f"train.{k}" if k in own else k: getattr(config, k) for k in fields},
    }
    for owner, known in (("objective", OBJECTIVES), ("family", FAMILIES)):
        if flat[owner] not in known:
            del flat[owner]
        flat |= {f"{owner}.{k}": v for k, v in getattr(config, f"{owner}_options").items()}
    flat |= {f"latent.{k}": v for k, v in config.latent.model_dump().items()}
    flat |= {f"lr.{k}": v for k, v in config.rates.items()}
    for key, value in flat.items():
        words += ["--set", f"{key}={_said(value)}"]
    for term, weight in config.terms.items():
        words += ["--add", f"{term}={weight:.10g}"]
    return words


def _said(value: Any) -> str:
    """A value as `parse_value` reads it."""
    if value is None:
        return "none"
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return json.dumps(value)


def load(plain: Mapping[str, Any]) -> Config:
    """A `Config` from config.yaml's data."""
    found = plain.get("format", 0)
    if isinstance(found, int) and found > FORMAT:
        raise UserError(
            f"this run has configuration format {found}; this ganforge reads up to "
            f"{FORMAT}: upgrade ganforge"
        )
    try:
        return Config(**plain)
    except (ValidationError, TypeError) as e:
        text = explain(e) if isinstance(e, ValidationError) else str(e)
        raise UserError(f"config.yaml is damaged: {text}; undo what was changed in it") from None


def explain(error: ValidationError) -> str:
    """A pydantic error as one line: what was given, what was expected."""
    first = error.errors()[0]
    where = ".".join(str(p) for p in first["loc"])
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where}={first.get('input')!r} does not fit: {first['msg']}"


def hints(cls: type, hidden: set[str]) -> dict[str, Any]:
    """The keyword options of a class's constructor, and their types."""
    types = typing.get_type_hints(cls.__init__)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls).parameters.values()
    return {
        p.name: types.get(p.name, Any) for p in found if p.kind in kinds and p.name not in hidden
    }


def _family_class(name: str) -> type:
    from ganforge.families import family_class

    return family_class(name)


def _typed(owner: str, values: dict[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    out = {}
    for name, value in values.items():
        value = _nothing(value, types[name])
        try:
            out[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as e:
            first = e.errors()[0]
            raise UserError(f"{owner}.{name}={value!r} does not fit: {first['msg']}") from None
    return out


def _nothing(value: Any, kind: Any) -> Any:
    """None, as what stands for it in an option that has no None: the choice "none", or an
    empty text."""
    if value is not None:
        return value
    return "none" if "none" in typing.get_args(kind) else "" if kind is str else None


def _unknown(key: str, known: Iterable[str]) -> UserError:
    known = sorted(set(known))
    near = difflib.get_close_matches(key, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return UserError(f"setting {key!r} is unknown here; {hint}")
