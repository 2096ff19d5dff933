"""Extra work of an engine's own GPU kernels, which ``workload`` does not count.

``workload`` counts fused kernels with FP16 activations between them. An engine whose GPU backend
works otherwise (:class:`roofline.runtime.engine.GpuBackend`) moves more bytes: activations in FP32,
weights expanded in memory before a library's GEMM, a prompt in several passes, and the scores of an
attention in several kernels.
"""

from dataclasses import dataclass

import numpy as np

from roofline.kernels.efficiency import fitted
from roofline.kernels.paths import ProductPath
from roofline.workload.operator import Amount, Operator, OperatorRole
from roofline.workload.setup import Setup

#: Most tokens that matrix-vector kernels multiply in one pass over the weights; llama.cpp's
#: ``MMVQ_MAX_BATCH_SIZE``.
VECTOR_TOKENS = 8

#: Operand types that an engine's own kernels multiply in tiles.
TILED = ("int8", "fp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """Extra work of one class of operators; the defaults are those of fused kernels."""

    #: Tokens of one pass through all weights; inf where a step is one pass.
    ubatch_tokens: Amount = np.inf
    #: Tokens from which weights are expanded in memory first; inf where they never are.
    dequantize_from_tokens: Amount = np.inf
    #: Bytes moved to expand one weight in memory, in each pass over a prompt.
    expanded_bytes: Amount = 0.0
    #: Tokens of a tile in GEMMs of experts; 0 where partly filled tiles lose nothing.
    expert_tile_tokens: Amount = 0.0
    #: Rate of tiles of experts over that of tiles of dense layers, for the same filling.
    expert_rate: Amount = 1.0
    #: Factor on the bytes of activations.
    activation_factor: Amount = 1.0
    #: Extra bytes for each byte of activations that a prompt's GEMM reads and writes, to convert
    #: them for a library.
    converted_factor: Amount = 0.0
    #: Bytes moved for each attention score between kernels.
    score_bytes: Amount = 0.0


NO_OVERHEADS = Overheads()


def overheads_of(setup: Setup, path: ProductPath, role: OperatorRole) -> Overheads:
    """Return the extra work of one class of operators on a setup's machine."""
    backend = setup.backend
    if backend is None:
        return NO_OVERHEADS
    if role == "vector":
        return Overheads(activation_factor=backend.activation_factor)
    if role == "attention":
        is_converted = setup.machine.has_gemm_library
        score_bytes = backend.converted_score_bytes if is_converted else backend.score_bytes
        if backend.flash_attention:
            score_bytes = 0.0
        return Overheads(ubatch_tokens=backend.ubatch_tokens, score_bytes=score_bytes)
    return Overheads(
        ubatch_tokens=backend.ubatch_tokens,
        dequantize_from_tokens=backend.dequantize_from_tokens,
        expanded_bytes=path.expanded_bytes,
        expert_tile_tokens=backend.expert_tile_tokens if path.operand in TILED else 0.0,
        expert_rate=fitted().gpu_expert_rate if path.operand in TILED else 1.0,
        converted_factor=backend.converted_factor if path.is_library else 0.0,
    )


def passes_of(operator: Operator, tokens: Amount, overheads: Overheads) -> tuple[Amount, Amount]:
    """Return the passes of a prompt through a weight, and the number of expansions they cost.

    A few tokens are not a prompt. An engine starts to expand weights at the number of tokens where
    its own kernels take as long, and the cost of those grows evenly with the tokens until then.
    """
    if operator.kind != "linear" or np.all(np.isinf(overheads.ubatch_tokens)):
        return 0.0, 0.0
    first = overheads.dequantize_from_tokens
    passes = np.where(tokens >= first, np.ceil(operator.step_tokens / overheads.ubatch_tokens), 0.0)
    own = np.clip((tokens - VECTOR_TOKENS) / (first - VECTOR_TOKENS), 0.0, 1.0)
    return passes, np.maximum(passes, own)


def extra_bytes(operator: Operator, expansions: Amount, overheads: Overheads) -> Amount:
    """Return the bytes that move before or after an operator's kernel, not during it."""
    expanded = overheads.expanded_bytes * operator.weights * expansions
    is_prompt = np.minimum(expansions, 1.0)
    converted = overheads.converted_factor * operator.activation_bytes * is_prompt
    return expanded + converted + overheads.score_bytes * _stored_scores(operator, overheads)


def tokens_of_tiles(tokens: Amount, overheads: Overheads) -> Amount:
    """Return the tokens that the tiles of a GEMM of experts compute, empty rows included."""
    tile = np.where(tokens > VECTOR_TOKENS, overheads.expert_tile_tokens, 0.0)
    return np.maximum(tile * np.ceil(tokens / np.maximum(tile, 1.0)), tokens)


def _stored_scores(operator: Operator, overheads: Overheads) -> Amount:
    """Return the scores that passes over a prompt store, those that the mask hides included."""
    queries = operator.queries
    is_prompt = np.isfinite(queries) & (queries > 1)
    own = np.minimum(queries, overheads.ubatch_tokens) / np.where(is_prompt, queries, 1.0)
    return operator.scores * (1.0 + np.where(is_prompt, own, 0.0))
