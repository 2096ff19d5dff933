"""The rotary embedding that a ``config.json`` describes, in the old spelling and the new one.

Old: ``rope_theta`` and ``rope_scaling``; new (transformers 5): all in ``rope_parameters``.
Formulas as in ``modeling_rope_utils.py`` of transformers 5.24.
"""

import math
from collections.abc import Mapping

from sim.model.config import RopeConfig
from sim.model.config_reader import ConfigReader, float_or_nan, shown
from sim.model.yarn import BETAS, Yarn, attention_scale

#: Old and new name of LongRoPE.
LONGROPE_NAMES = ("longrope", "su")


def read_rope(
    reader: ConfigReader,
    *,
    head_dim: int,
    max_positions: int,
    types: tuple[str, ...] = ("default", "linear", "llama3", "yarn", "longrope"),
    partial: float | None = None,
    original_positions: int | None = None,
) -> RopeConfig:
    """Read the rotary embedding of a model.

    Parameters
    ----------
    reader
        The configuration.
    head_dim, max_positions
        Size of a head, and the context.
    types
        Supported types of scaling.
    partial
        The family's default share of a head that rotates; ``None`` where whole heads rotate.
    original_positions
        The family's default of the context before extension; ``None``: no default.
    """
    original = reader.optional_integer("original_max_position_embeddings", low=2)
    original = original_positions if original is None else original
    theta = reader.number("rope_theta", 10000.0)
    share = _share(reader, partial) if partial is not None else None
    scaling = _scaling(reader)
    theta = scaling.number("rope_theta", theta)
    if share is None:
        scaling.only("partial_rotary_factor", 1.0)
    else:
        share = _share(scaling, share)
    kind = _kind(scaling, types)
    dim = head_dim if share is None else int(head_dim * share)
    rope = RopeConfig(dim=dim, theta=theta)
    if kind == "linear":
        rope = RopeConfig(
            dim=dim, theta=theta, factors=(_required(scaling, "factor"),) * (dim // 2)
        )
    elif kind == "llama3":
        rope = _llama3(scaling, rope, _context(scaling, original, max_positions))
    elif kind == "yarn":
        rope = _yarn(scaling, rope, max_positions, _context(scaling, original, max_positions))
    elif kind == "longrope":
        rope = _longrope(scaling, rope, max_positions, _context(scaling, original, max_positions))
    elif scaling.given("factor"):
        scaling.only("factor", 1.0)
    # A number that the type does not read is ignored by transformers; an object is another scheme.
    scaling.finish(dict.fromkeys(scaling.unread_objects(), ()))
    return rope


def _context(scaling: ConfigReader, original: int | None, max_positions: int) -> int:
    """Return the context before extension, which may stand beside the parameters or among them."""
    name = "original_max_position_embeddings"
    context = scaling.integer(name, original or max_positions, low=2)
    if original not in (None, context) and scaling.take(name) is not None:
        raise scaling.wrong(name, f"must equal the configuration's {original}")
    return context


def _share(reader: ConfigReader, default: float) -> float:
    share = reader.number("partial_rotary_factor", default)
    if share > 1:
        raise reader.wrong("partial_rotary_factor", "must be at most 1")
    return share


def _scaling(reader: ConfigReader) -> ConfigReader:
    """Return the object that holds the parameters, empty where there is none."""
    old, new = reader.take("rope_scaling"), reader.take("rope_parameters")
    if old and new and old != new:
        raise reader.wrong("rope_scaling", "must equal rope_parameters where both are given")
    name = "rope_parameters" if new else "rope_scaling"
    parameters = new or old or {}
    if not isinstance(parameters, Mapping):
        raise reader.wrong(name, "must be an object")
    return ConfigReader(parameters, f"{reader.context}, {name}")


def _kind(scaling: ConfigReader, types: tuple[str, ...]) -> str:
    """Return the type of scaling, which old files call ``type``."""
    old, kind = scaling.take("type"), scaling.take("rope_type")
    if old is not None and kind is not None and old != kind:
        raise scaling.wrong("type", f"must equal rope_type {shown(kind)} where both are given")
    name = "type" if kind is None and old is not None else "rope_type"
    choices = {kind: kind for kind in types}
    if "longrope" in types:
        choices |= dict.fromkeys(LONGROPE_NAMES, "longrope")
    return scaling.choice(name, "default", choices)


def _required(scaling: ConfigReader, name: str) -> float:
    if scaling.take(name) is None:
        raise scaling.wrong(name, "is required for this type of scaling")
    return scaling.number(name, 1.0)


def _llama3(scaling: ConfigReader, rope: RopeConfig, context: int) -> RopeConfig:
    """Divide low frequencies by ``factor``, keep high ones, blend in between (Llama 3.1).

    A pair that turns ``n`` times in the original context counts as low where ``n <
    low_freq_factor`` and as high where ``n > high_freq_factor``.
    """
    factor = _required(scaling, "factor")
    low, high = _required(scaling, "low_freq_factor"), _required(scaling, "high_freq_factor")
    if high <= low:
        raise scaling.wrong("high_freq_factor", f"must be greater than low_freq_factor {low}")

    def divisor(index: int) -> float:
        turns: float = context * rope.theta ** (-2 * index / rope.dim) / (2 * math.pi)
        if turns < low:
            return factor
        if turns > high:
            return 1.0
        blend = (turns - low) / (high - low)
        return 1.0 / ((1.0 - blend) / factor + blend)

    factors = tuple(divisor(i) for i in range(rope.dim // 2))
    return RopeConfig(dim=rope.dim, theta=rope.theta, factors=factors)


def _yarn(scaling: ConfigReader, rope: RopeConfig, max_positions: int, context: int) -> RopeConfig:
    """Return YaRN, with its factor on cosine and sine."""
    factor = scaling.number("factor", max_positions / context)
    scale = attention_scale(factor)
    mscale, all_dims = _positive(scaling, "mscale"), _positive(scaling, "mscale_all_dim")
    if mscale and all_dims:
        scale = attention_scale(factor, mscale) / attention_scale(factor, all_dims)
    yarn = Yarn(
        factor=factor,
        original_positions=context,
        beta_fast=_positive(scaling, "beta_fast") or BETAS[0],
        beta_slow=_positive(scaling, "beta_slow") or BETAS[1],
        truncate=scaling.flag("truncate", True),
    )
    return RopeConfig(
        dim=rope.dim,
        theta=rope.theta,
        attention_factor=scaling.number("attention_factor", scale),
        yarn=yarn,
    )


def _positive(scaling: ConfigReader, name: str) -> float | None:
    """Return a number greater than 0; ``None`` if it is absent, ``null`` or 0."""
    value = scaling.take(name)
    return None if value is None or value == 0 else scaling.number(name, 1.0)


def _longrope(
    scaling: ConfigReader, rope: RopeConfig, max_positions: int, context: int
) -> RopeConfig:
    """Return LongRoPE: divisors of the frequencies, others in windows longer than ``context``."""
    factor = scaling.number("factor", max_positions / context)
    default = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(context))
    return RopeConfig(
        dim=rope.dim,
        theta=rope.theta,
        factors=_factors(scaling, "short_factor"),
        long_factors=_factors(scaling, "long_factor"),
        original_max_positions=context,
        attention_factor=scaling.number("attention_factor", default),
    )


def _factors(scaling: ConfigReader, name: str) -> tuple[float, ...]:
    values = scaling.take(name)
    if not isinstance(values, list) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 < float_or_nan(v) < math.inf
        for v in values
    ):
        raise scaling.wrong(name, "must be a list of finite numbers greater than 0")
    return tuple(float(v) for v in values)
