"""``qsim codesign mix`` without its output: sensitivities, the best mixes, and mixes measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from rich.console import Console

from sim.codesign.mixes import Mix, Part, best_mixes
from sim.codesign.options import MixOptions
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.tensors import linear_names, tensor_shapes
from sim.sources.catalog import open_model
from sim.sweep.engine import Sweep
from sim.sweep.progress import ProgressObserver
from sim.sweep.recipe import Recipe, Rule, plan
from sim.sweep.recipe_file import make_scheme
from sim.sweep.result import PointResult
from sim.sweep.scored import scored_text
from sim.sweep.weights import weight_bytes

#: Fewest formats that can be mixed.
LEAST_FORMATS = 2
#: Bytes of a weight that stays in float32.
FLOAT_BYTES = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredMix:
    """A mix with its divergence, summed over parts and measured whole."""

    mix: Mix
    #: Divergence that the sum of the parts predicts, nats per token.
    predicted: float
    point: PointResult

    @property
    def formats(self) -> dict[str, str]:
        """Format of each kind of layers."""
        return {part.kind: part.format for part in self.mix.parts}

    @property
    def additive_error(self) -> float:
        """Measured divergence less the sum of the parts."""
        return self.point.kl_mean - self.predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixes:
    """The best mixes, and the formats alone for comparison."""

    mixes: tuple[MeasuredMix, ...]
    uniform: tuple[PointResult, ...]
    sensitivities: tuple[PointResult, ...]


def run_mix(model: str, options: MixOptions) -> Mixes:
    """Measure every kind of layers in every format alone, and the best mixes whole.

    Raises
    ------
    UserError
        Fewer than two formats, or no mix has so few bits.
    """
    names = tuple(dict.fromkeys(options.formats))
    activations = options.activations
    if len(names) < LEAST_FORMATS:
        raise UserError(
            f"a mix needs at least {LEAST_FORMATS} formats; give more with --format, such as"
            " --format int4 int8"
        )
    source = open_model(model)
    kinds = kinds_of(source.config)
    sizes = {
        (kind, name): kind_bytes(source.config, kind, name) for kind in kinds for name in names
    }
    weights = sum(_weights_of(source.config, kind) for kind in kinds)
    _check_bits(options.bits, sizes, weights)
    text, windows = scored_text(
        options.text,
        source,
        tokens=options.tokens,
        context=options.context,
        spread=options.text is not None,
    )

    def measure(recipes: Sequence[Recipe]) -> list[PointResult]:
        sweep = Sweep(
            source=source,
            text=text,
            windows=windows,
            recipes=tuple(recipes),
            directory=options.out,
        )
        with ProgressObserver(Console(stderr=True), as_json=False) as observer:
            return sweep.run(observer)[1:]

    base = [mix_recipe({}, activations)] if activations else []
    alone = {
        (kind, name): mix_recipe({kind: name}, activations) for kind in kinds for name in names
    }
    points = measure([*base, *alone.values()])
    floor = points[0].kl_mean if base else 0.0
    results = dict(zip(alone, points[len(base) :], strict=True))
    parts = [
        [
            Part(
                kind=kind,
                format=name,
                size_bytes=sizes[kind, name],
                kl_nats=results[kind, name].kl_mean - floor,
            )
            for name in names
        ]
        for kind in kinds
    ]
    found = best_mixes(parts, most_bytes=weights * options.bits / 8, count=options.best)
    recipes = [mix_recipe({p.kind: p.format for p in mix.parts}, activations) for mix in found]
    same = [mix_recipe(dict.fromkeys(kinds, name), activations) for name in names]
    distinct = list(dict.fromkeys([*recipes, *same]))
    measured = dict(zip(distinct, measure(distinct), strict=True))
    return Mixes(
        mixes=tuple(
            MeasuredMix(mix=mix, predicted=floor + mix.kl_nats, point=measured[recipe])
            for mix, recipe in zip(found, recipes, strict=True)
        ),
        uniform=tuple(measured[recipe] for recipe in same),
        sensitivities=tuple(results.values()),
    )


def _check_bits(bits: float, sizes: dict[tuple[str, str], float], weights: int) -> None:
    """Refuse fewer bits per weight than those of the smallest mix, before anything is measured."""
    least: dict[str, float] = {}
    for (kind, _), size in sizes.items():
        least[kind] = min(size, least.get(kind, size))
    smallest = 8 * sum(least.values()) / weights
    if bits < smallest:
        raise UserError(
            f"--bits {bits:g}: the smallest mix has {smallest:.2f} bits per weight, side data"
            " included; give more bits, or a narrower --format"
        )


def kinds_of(config: ModelConfig) -> tuple[str, ...]:
    """Return the kinds of linear layers, such as ``mlp.down_proj``."""
    return tuple(dict.fromkeys(name.split(".", 2)[2] for name in linear_names(config)))


def mix_recipe(formats: dict[str, str], activations: str | None) -> Recipe:
    """Return the recipe of kinds of layers in their formats, all others in float32."""
    inputs = make_scheme(activations, "activation")
    rules = [
        Rule(match=f"layers.*.{kind}", weights=make_scheme(name, "weight"), activations=inputs)
        for kind, name in formats.items()
    ]
    rest = [Rule(activations=inputs)] if inputs is not None else []
    name = " ".join(f"{kind.split('.')[-1]}={fmt}" for kind, fmt in formats.items())
    suffix = f" a={activations}" if inputs is not None else ""
    return Recipe(name=(name + suffix).strip(), rules=(*rules, *rest))


def kind_bytes(config: ModelConfig, kind: str, name: str) -> float:
    """Return the bytes of all layers of a kind in a format."""
    floats = weight_bytes(plan(Recipe(name="none", rules=()), config))
    mixed = weight_bytes(plan(mix_recipe({kind: name}, None), config))
    return mixed - (floats - FLOAT_BYTES * _weights_of(config, kind))


def _weights_of(config: ModelConfig, kind: str) -> int:
    """Return the number of weights of all layers of a kind."""
    shapes = tensor_shapes(config)
    return sum(prod(shapes[f"{n}.weight"]) for n in linear_names(config) if n.endswith(kind))
