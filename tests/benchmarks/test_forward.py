"""Speed of a window's evaluation at the shapes of SmolLM2-135M, with random weights.

Run with ``pytest tests/benchmarks/test_forward.py -o addopts= --import-mode=importlib``. With
``taskset -c 0`` in front it measures one core, in processor time, which other work on the machine
disturbs little; otherwise all cores in wall time, which wants a quiet machine.

The yardstick is a large matrix product of JAX, timed between the rounds of the same run. Useful
operations are two for each weight of a linear layer and of the vocabulary product and each token,
and in attention those of the pairs of tokens that the causal mask leaves, half of all.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.model.config import ModelConfig, RopeConfig
from sim.model.forward import hidden_states
from sim.model.head import reference_scores, scores
from sim.model.params import ModelBuffers
from sim.model.tensors import linear_names, tensor_shapes

CONFIG = ModelConfig(
    family="llama",
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    layers=30,
    heads=9,
    kv_heads=3,
    head_dim=64,
    max_positions=8192,
    rope=RopeConfig(dim=64, theta=1e5),
)
ROUNDS = 5
SIDE = 2048
CORES = len(os.sched_getaffinity(0))
CLOCK = time.process_time if CORES == 1 else time.perf_counter

pytestmark = pytest.mark.benchmark(timer=CLOCK)


def operations(config: ModelConfig, tokens: int) -> int:
    shapes = tensor_shapes(config)
    matrices = [f"{name}.weight" for name in linear_names(config)] + ["embed_tokens.weight"]
    linear = sum(2 * tokens * shapes[name][0] * shapes[name][1] for name in matrices)
    # q k^T and weights v, each over half of all pairs.
    attention = 2 * 2 * config.heads * config.head_dim * tokens * (tokens + 1) // 2
    return linear + config.layers * attention


@dataclass
class Stopwatch:
    """Best time of some calls, all made once in every round."""

    calls: dict[str, Callable[[], Any]]
    best_s: dict[str, float] = field(default_factory=dict)

    def __call__(self) -> None:
        for name, call in self.calls.items():
            start = CLOCK()
            call()
            taken = CLOCK() - start
            self.best_s[name] = min(taken, self.best_s.get(name, taken))


def matrix_product() -> Callable[[], Any]:
    a, product = jnp.ones((SIDE, SIDE)), jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    return lambda: product(a, a).block_until_ready()


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else rng.standard_normal(shape, np.float32) * np.float32(0.03)
        for name, shape in tensor_shapes(CONFIG).items()
    }


@pytest.fixture(scope="module")
def params(weights):
    buffers = ModelBuffers(CONFIG)
    for name, tensor in weights.items():
        buffers.write(name, tensor)
    return buffers.params()


@pytest.fixture(params=[512, 1024])
def tokens(request) -> jax.Array:
    return jnp.arange(request.param, dtype=jnp.int32) * 37 % CONFIG.vocab_size


@jax.jit
def evaluate(params, tokens):
    return reference_scores(hidden_states(params, tokens, CONFIG), params, CONFIG, tokens)


@jax.jit
def mean_loss(params, tokens):
    # The unused logits exist one chunk of the vocabulary at a time.
    _, nll = reference_scores(hidden_states(params, tokens, CONFIG), params, CONFIG, tokens)
    return nll.mean()


@jax.jit
def compare(params, tokens, reference):
    return scores(hidden_states(params, tokens, CONFIG), params, CONFIG, tokens, reference)


def measure(benchmark, call: Callable[[], Any], **others: Callable[[], Any]) -> dict[str, float]:
    """Return the best seconds of ``call`` and of the others, their rounds interleaved."""
    jax.block_until_ready(call())
    watch = Stopwatch(others)
    benchmark.pedantic(lambda: jax.block_until_ready(call()), setup=watch, rounds=ROUNDS)
    return watch.best_s | {"call": benchmark.stats.stats.min}


def test_forward_reaches_the_rate_of_matrix_products(benchmark, params, tokens):
    best = measure(benchmark, lambda: mean_loss(params, tokens), product=matrix_product())
    gemm = 2 * SIDE**3 / best["product"] / 1e9
    forward = operations(CONFIG, len(tokens)) / best["call"] / 1e9
    benchmark.extra_info |= {
        "gemm_gflops": gemm,
        "forward_gflops": forward,
        "ratio": forward / gemm,
        "tokens_per_s": len(tokens) / best["call"],
    }
    assert forward >= 0.75 * gemm


def test_comparison_costs_little_more_than_the_reference(benchmark, params, tokens):
    logits, _ = evaluate(params, tokens)
    best = measure(
        benchmark,
        lambda: compare(params, tokens, logits),
        reference=lambda: jax.block_until_ready(evaluate(params, tokens)),
    )
    benchmark.extra_info["ratio"] = best["call"] / best["reference"]
    assert best["call"] <= 1.10 * best["reference"]


def test_forward_beats_transformers(benchmark, params, weights, tokens):
    loss = transformers_loss(weights)
    best = measure(benchmark, lambda: mean_loss(params, tokens), peer=partial(loss, tokens))
    assert loss(tokens) == pytest.approx(float(mean_loss(params, tokens)), rel=1e-5)
    benchmark.extra_info |= {"peer_s": best["peer"], "ratio": best["peer"] / best["call"]}
    assert best["peer"] >= 1.15 * best["call"]


def transformers_loss(weights: dict[str, np.ndarray]) -> Callable[[jax.Array], float]:
    """The mean negative log-likelihood by transformers on torch, on the cores we may use."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(CORES)
    config = transformers.LlamaConfig(
        vocab_size=CONFIG.vocab_size,
        hidden_size=CONFIG.hidden_size,
        intermediate_size=CONFIG.intermediate_size,
        num_hidden_layers=CONFIG.layers,
        num_attention_heads=CONFIG.heads,
        num_key_value_heads=CONFIG.kv_heads,
        max_position_embeddings=CONFIG.max_positions,
        rms_norm_eps=CONFIG.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": CONFIG.rope.theta},
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    names = {
        "final_norm": "norm",
        "attn_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
    }
    for name, tensor in weights.items():
        *_, module, _ = name.split(".")
        theirs = name.replace(module, names.get(module, module))
        model.get_parameter(f"model.{theirs}").data = torch.from_numpy(tensor)

    def loss(tokens: jax.Array) -> float:
        ids = torch.from_numpy(np.array(tokens, np.int64))[None]
        with torch.inference_mode():
            return model(input_ids=ids, labels=ids, use_cache=False).loss.item()

    loss(jnp.arange(8))
    return loss
