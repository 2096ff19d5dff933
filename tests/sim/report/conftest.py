import dataclasses
import math
import random

import numpy as np
import pytest

from sim.sweep.result import PointResult

#: Recipe, bits per weight, loss and its standard error: what a sweep of SmolLM2 looks like.
ROWS = [
    ("float32", 32.0, 0.0, 0.0),
    ("int8", 8.13, 0.0031, 0.0017),
    ("int6", 6.13, 0.017, 0.003),
    ("int5", 5.13, 0.06, 0.006),
    ("int4", 4.135, 0.459, 0.033),
    ("int4-asym", 4.16, 0.3, 0.03),
    ("int3", 3.13, 2.5, 0.1),
    ("int2", 2.13, 7.1, 0.2),
    ("ternary", 2.13, 8.0, None),
    ("fp4", 4.135, 0.335, 0.028),
    ("fp6_e2m3", 6.13, 0.012, 0.003),
    ("fp6_e3m2", 6.13, 0.03, 0.003),
    ("fp8_e4m3", 8.13, 0.017, 0.003),
    ("fp8_e5m2", 8.13, 0.05, 0.003),
    ("nf4", 4.5, 0.25, 0.02),
    ("mxfp4", 4.25, 0.62, 0.03),
    ("mxfp4-rceil", 4.25, 0.5, 0.03),
    ("nvfp4", 4.5, 0.22, 0.02),
    ("mxfp6_e2m3", 6.25, 0.02, 0.003),
    ("mxfp8_e4m3", 8.25, 0.019, 0.003),
    ("mxint8", 8.25, -0.0004, 0.0009),
    ("w=int8,a=int8", 8.13, 0.031, 0.004),
    ("w=fp8_e4m3,a=fp8_e4m3", 8.13, 0.03, 0.004),
    ("w=fp4,a=fp4:g128", 4.13, 1.2, 0.05),
    ("kv=int8", 32.0, 0.001, 0.0005),
    ("kv=fp8_e4m3", 32.0, 0.002, 0.0005),
]
#: More rows, as close to each other as in large sweeps.
MORE_ROWS = [
    ("int7", 7.13, 0.006, 0.002),
    ("int3-asym", 3.16, 1.9, 0.06),
    ("int8-asym", 8.19, 0.0026, 0.0015),
    ("int2-asym", 2.15, 6.6, 0.1),
    ("mxfp6_e3m2", 6.25, 0.049, 0.005),
    ("mxfp8_e5m2", 8.25, 0.054, 0.006),
    ("w=mxfp4,a=mxfp4", 4.25, 1.6, 0.06),
    ("w=nvfp4,a=nvfp4", 4.5, 0.61, 0.03),
    ("kv=fp4:g64", 32.0, 0.21, 0.02),
    ("kv=mxfp4", 32.0, 0.26, 0.02),
    ("kv=nvfp4", 32.0, 0.14, 0.01),
    ("int8:channel", 8.02, 0.012, 0.003),
    ("int4:channel", 4.02, 1.8, 0.07),
    ("int8:tensor", 8.0, 0.31, 0.03),
    ("fp4:channel", 4.02, 1.1, 0.06),
    ("fp4:fp32", 4.25, 0.335, 0.028),
    ("fp4:bf16", 4.13, 0.337, 0.028),
    ("fp4:e8m0", 4.06, 0.6, 0.04),
    ("fp4:g16:e4m3", 4.5, 0.24, 0.02),
    ("mxfp6_e2m3-rceil", 6.25, 0.0165, 0.003),
    ("mxfp6_e3m2-rceil", 6.25, 0.047, 0.005),
    ("mxfp8_e4m3-rceil", 8.25, 0.0178, 0.003),
    ("mxint8-rceil", 8.25, 0.0021, 0.001),
    ("w=int4:g64,a=int8,kv=int8", 4.25, 0.44, 0.03),
    ("w=int4:g32,a=int8", 4.5, 0.36, 0.03),
    ("int4:g64", 4.25, 0.4, 0.03),
    ("int4:g32", 4.5, 0.31, 0.03),
    ("nf4:g32", 5.0, 0.19, 0.02),
    ("down in 8 bits", 5.2, 0.22, 0.02),
    ("int4 skip=*.down_proj", 12.8, 0.25, 0.02),
    ("nvfp4 skip=*.down_proj", 12.9, 0.13, 0.012),
    ("W fp4_e2m1:g128:fp16 A int8:token KV fp8_e4m3:token", 4.13, 0.37, 0.03),
]
#: Deviation of each window from the mean, in units of 1; their mean is 0.
PATTERN = np.array([1, -1, 1, -1, 1, -1, 1, -1.0])
MEMBERS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def windows_of(mean, error):
    """Return the values of eight windows with this mean and standard error."""
    deviation = (error or 0.0) * math.sqrt(7)
    return tuple((mean + deviation * PATTERN).tolist())


def make_point(recipe, bits, loss, error, **other):
    """Return a point whose KL divergence is ``abs(loss)``, with a quarter of the loss's error."""
    noise = random.Random(recipe)
    has_weights = recipe != "float32" and not recipe.startswith("kv")
    kl, kl_error = abs(loss), None if error is None else error / 4
    point = PointResult(
        model="a model",
        recipe=recipe,
        text="a text",
        tokens=4096,
        context=512,
        sampling="8 windows",
        scored=4088,
        vocab_size=49152,
        perplexity=29.0 * math.exp(min(loss, 500.0)),
        delta_nats=loss,
        delta_nats_se=error,
        kl_mean=kl,
        kl_mean_se=kl_error,
        kl_p99=5 * kl,
        top1_agreement=1 / (1 + kl),
        bits_per_weight=bits,
        weight_bytes=int(1e5 * bits),
        model_bytes=int(1e6 * bits),
        definition=f"definition of {recipe}",
        sqnr_db={
            f"layers.{i}.{m}": 6 * bits - 6 + noise.gauss(0, 1) for i in range(4) for m in MEMBERS
        }
        if has_weights
        else {},
        tokens_per_s=400.0,
        wall_s=10.0,
        window_kl=windows_of(kl, kl_error),
        window_delta_nats=windows_of(loss, error),
        notes=("Weights lie on a grid.",),
    )
    return dataclasses.replace(point, **other)


@pytest.fixture(scope="session")
def results():
    """Return the points of a sweep, in no particular order."""
    points = [make_point(*row) for row in ROWS]
    random.Random(0).shuffle(points)
    return points


@pytest.fixture(scope="session")
def many_results(results):
    """Return as many points as a large sweep has."""
    return [*results, *(make_point(*row) for row in MORE_ROWS)]
