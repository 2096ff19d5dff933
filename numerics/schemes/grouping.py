"""Split tensors into groups that share a scale, and join them again."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Shaped

from numerics.schemes.granularity import Granularity, PerGroup, PerTensor


def split_groups(
    x: Shaped[Array, "*shape"], granularity: Granularity
) -> list[Shaped[Array, "rows _ _"]]:
    """Return the full groups and, unless their size divides the rows, the shorter last groups."""
    is_one_group = isinstance(granularity, PerTensor)
    rows = x.reshape(1, -1) if is_one_group else x.reshape(-1, x.shape[-1])
    count, length = rows.shape
    size = min(granularity.size, length) if isinstance(granularity, PerGroup) else length
    full = length // size
    blocks = [rows[:, : full * size].reshape(count, full, size)]
    if full * size < length:
        blocks.append(rows[:, None, full * size :])
    return blocks


def split_scales(
    scales: Shaped[Array, "*lead groups"], blocks: list[Shaped[Array, "rows _ _"]]
) -> list[Shaped[Array, "rows _"]]:
    """Return the scales of each of the ``blocks`` of :func:`split_groups`."""
    rows = scales.reshape(blocks[0].shape[0], -1)
    full = blocks[0].shape[1]
    return [rows[:, :full], rows[:, full:]][: len(blocks)]


def join_groups(
    blocks: list[Shaped[Array, "rows _ _"]], shape: tuple[int, ...]
) -> Shaped[Array, "*shape"]:
    """Return the values of all groups in the shape of the tensor."""
    rows = [block.reshape(block.shape[0], -1) for block in blocks]
    return _concatenate(rows).reshape(shape)


def join_scales(
    scales: list[Shaped[Array, "rows _"]], shape: tuple[int, ...]
) -> Shaped[Array, "*lead groups"]:
    """Join per-group values into one array of the shape of the scales."""
    return _concatenate(scales).reshape(shape)


def _concatenate(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)
