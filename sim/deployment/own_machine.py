"""Compare the speed of a model of :mod:`sim.model` on this machine with its prediction."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hw.machine import Machine
from roofline.runtime.serving_format import parse_format
from roofline.time.predict import predict_step
from roofline.workload.setup import Setup
from roofline.workload.step import Options, Sequences
from sim.deployment.shapes import shape_of
from sim.model.config import ModelConfig
from sim.model.decode import decode_step, empty_cache
from sim.model.forward import hidden_states
from sim.model.head import logits
from sim.model.params import ModelBuffers, Params
from sim.model.tensors import tensor_shapes

REPETITIONS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Measured and expected tokens/s of one phase."""

    phase: str
    tokens: int
    measured_tokens_per_s: float
    expected_tokens_per_s: float
    bound_tokens_per_s: float

    @property
    def ratio(self) -> float:
        """Expected over measured."""
        return self.expected_tokens_per_s / self.measured_tokens_per_s


def random_params(config: ModelConfig) -> Params:
    """Return random parameters; only their sizes matter."""
    random, buffers = np.random.default_rng(0), ModelBuffers(config)
    for name, shape in tensor_shapes(config).items():
        buffers.write(name, random.normal(0, 0.02, shape).astype(np.float32))
    return buffers.params()


def compare(
    config: ModelConfig, machine: Machine, *, prompt: int = 512, context: int = 256
) -> list[Comparison]:
    """Run a prompt and single tokens of a model with random weights; return both phases."""
    params = random_params(config)
    setup = Setup(
        shape=shape_of(config, name="model", title="a model of sim.model"),
        format=parse_format("fp32", kv="fp32"),
        machine=machine,
        options=Options(fused_attention=False),
    )
    cases = (
        ("prefill", prompt, _time_prompt(params, config, prompt), Sequences(batch=1, new=prompt)),
        (
            "decode",
            1,
            _time_token(params, config, context),
            Sequences(batch=1, new=1, context=context - 1),
        ),
    )
    return [
        Comparison(
            phase=phase,
            tokens=tokens,
            measured_tokens_per_s=tokens / seconds,
            expected_tokens_per_s=tokens / float(predict_step(setup, [step], "expected").time_s),
            bound_tokens_per_s=tokens / float(predict_step(setup, [step], "bound").time_s),
        )
        for phase, tokens, seconds, step in cases
    ]


def _time_prompt(params: Params, config: ModelConfig, prompt: int) -> float:
    @jax.jit
    def run(params: Params, tokens: Any) -> Any:
        states = hidden_states(params, tokens, config)
        return logits(states[-1:], params, config)

    return _typical(partial(run, params, jnp.arange(prompt, dtype=jnp.int32)))


def _time_token(params: Params, config: ModelConfig, context: int) -> float:
    # The step overwrites the KV cache, as in generation.
    step = jax.jit(decode_step, static_argnums=4, donate_argnums=3)
    caches = [empty_cache(config, context)]

    def run() -> Any:
        row, cache = step(params, jnp.int32(1), jnp.int32(context - 1), caches.pop(), config)
        caches.append(cache)
        return row

    return _typical(run)


def _typical(call: Callable[[], Any]) -> float:
    call().block_until_ready()
    times = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        call().block_until_ready()
        times.append(time.perf_counter() - started)
    return float(np.median(times))
