"""The rotary embedding that a GGUF file describes, with the defaults of llama.cpp's loader.

Sources: ``load_hparams`` and ``get_rope_factors`` in ``llama-model.cpp``, and the constructor in
``llama-context.cpp``, of llama.cpp at commit 0c1e57098.
"""

import math

import numpy as np

from sim.errors import UserError
from sim.model.config import RopeConfig
from sim.model.yarn import BETAS, Yarn, attention_scale
from sim.sources.gguf_header import GgufHeader
from sim.sources.gguf_keys import Keys
from sim.sources.gguf_tensors import divisor_names, read_rows

#: Values of ``rope.scaling.type`` that are supported; ``linear`` is the default.
SCALING_TYPES = ("none", "linear", "yarn", "longrope")


def read_rope(keys: Keys, head_dim: int, *, partial: bool = False) -> RopeConfig:
    """Return the rotary embedding.

    Parameters
    ----------
    keys
        The metadata.
    head_dim
        Values of a head.
    partial
        Whether the architecture may rotate fewer of them.
    """
    dim = keys.integer("rope.dimension_count", head_dim)
    if dim != head_dim and not (partial and 0 < dim < head_dim):
        raise UserError(
            f"{keys.header.path}: {dim} of {head_dim} values of a head rotate, which this "
            "architecture does not support"
        )
    scaling = keys.text("rope.scaling.type", "linear")
    if scaling not in SCALING_TYPES:
        raise keys.wrong("rope.scaling.type", f"one of {', '.join(SCALING_TYPES)}")
    factor = _factor(keys, scaling)
    if scaling == "yarn":
        return _yarn(keys, dim, factor)
    stored = [_stored(keys.header, name) for name in divisor_names(keys.header)]
    short, long = (*stored, None, None)[:2]
    return RopeConfig(
        dim=dim,
        theta=keys.number("rope.freq_base", 10000.0),
        factors=_scaled(short, factor, dim),
        long_factors=None if long is None else _scaled(long, factor, dim),
        original_max_positions=_context(keys, has_two=long is not None),
        attention_factor=keys.number("rope.scaling.attn_factor", 1.0),
    )


def _yarn(keys: Keys, dim: int, factor: float) -> RopeConfig:
    """Return YaRN.

    llama.cpp reads the four ``yarn_*`` keys for a few architectures only, none of them supported
    here, and computes with 32, 1 and the factor on cosine and sine of the paper. They hold here:
    its converter writes them where ``config.json`` has them, and transformers obeys that.
    """
    if divisor_names(keys.header):
        raise UserError(f"{keys.header.path}: YaRN with tensors of divisors is not supported")
    for key, only in (("yarn_ext_factor", 1.0), ("yarn_log_multiplier", 0.0)):
        if keys.number(f"rope.scaling.{key}", only) != only:
            raise keys.wrong(f"rope.scaling.{key}", f"{only:g}")
    scale = attention_scale(factor) * keys.number("rope.scaling.attn_factor", 1.0)
    context = keys.integer("context_length")
    return RopeConfig(
        dim=dim,
        theta=keys.number("rope.freq_base", 10000.0),
        attention_factor=keys.number("rope.scaling.yarn_attn_factor", scale),
        yarn=Yarn(
            factor=factor,
            original_positions=keys.integer("rope.scaling.original_context_length", context),
            beta_fast=keys.number("rope.scaling.yarn_beta_fast", BETAS[0]),
            beta_slow=keys.number("rope.scaling.yarn_beta_slow", BETAS[1]),
        ),
    )


def _factor(keys: Keys, scaling: str) -> float:
    """Return the divisor of all frequencies.

    ``rope.scale_linear`` is the old name of ``rope.scaling.factor`` and is read only where that is
    absent; 0 stands for 1, and nothing is scaled where the type is ``none``.
    """
    old = keys.number("rope.scale_linear", 0.0)
    factor = keys.number("rope.scaling.factor", old)
    if not 0 <= factor < math.inf:
        raise keys.wrong("rope.scaling.factor", "finite and at least 0")
    return 1.0 if scaling == "none" or factor == 0 else factor


def _context(keys: Keys, *, has_two: bool) -> int | None:
    """Return the longest window for the short divisors: the model's context by default."""
    context = keys.integer("rope.scaling.original_context_length", keys.integer("context_length"))
    return context if has_two else None


def _stored(header: GgufHeader, name: str) -> tuple[float, ...]:
    if name not in header.tensors:
        raise UserError(f"{header.path} has no tensor {name}")
    divisors = tuple(float(f) for f in read_rows(header, name).ravel())
    if not all(0 < f < np.inf for f in divisors):
        raise UserError(f"{header.path}: {name} must hold finite numbers greater than 0")
    return divisors


def _scaled(
    divisors: tuple[float, ...] | None, factor: float, dim: int
) -> tuple[float, ...] | None:
    """Multiply all divisors by a factor; without divisors the factor holds for every frequency."""
    if divisors is None:
        return None if factor == 1.0 else (factor,) * (dim // 2)
    return tuple(divisor * factor for divisor in divisors)
