import random

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
MEMBERS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def make_point(recipe, bits, loss, error, model="a model"):
    noise = random.Random(recipe)
    has_weights = recipe != "float32" and not recipe.startswith("kv")
    return PointResult(
        model=model,
        recipe=recipe,
        text="a text",
        tokens=4096,
        context=512,
        sampling="8 windows",
        scored=4088,
        perplexity=29.0 * 2.718**loss,
        delta_nats=loss,
        delta_nats_se=error,
        kl_mean=abs(loss),
        kl_p99=5 * abs(loss),
        top1_agreement=1 / (1 + abs(loss)),
        bits_per_weight=bits,
        model_bytes=int(1e6 * bits),
        sqnr_db={
            f"layers.{i}.{m}": 6 * bits - 6 + noise.gauss(0, 1) for i in range(4) for m in MEMBERS
        }
        if has_weights
        else {},
        tokens_per_s=400.0,
        wall_s=10.0,
        notes=("Weights lie on a grid.",),
    )


@pytest.fixture(scope="session")
def results():
    """Return the points of a sweep, in no particular order."""
    points = [make_point(*row) for row in ROWS]
    random.Random(0).shuffle(points)
    return points
