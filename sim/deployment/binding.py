"""What binds an expected step: the parts of its time, where it is far from its bound."""

from roofline.time.predict import StepTime
from roofline.time.rates import path_of
from roofline.workload.operator import role_of
from roofline.workload.setup import Setup

#: Factor between an expectation and its bound from which the parts are named.
FAR = 1.5
#: Parts that are named, at most, and the least share of the time of one.
MOST_PARTS, LEAST_SHARE = 3, 0.05


def binding(setup: Setup, step: StepTime) -> str:
    """Return the parts that take most of a step, with their shares of its time.

    >>> from hw.machine import load_machine
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> from roofline.time.predict import predict_step
    >>> from roofline.workload.step import Sequences
    >>> shape, machine = load_model("llama-3.2-1b"), load_machine("h100-sxm")
    >>> setup = Setup(shape=shape, format=parse_format("w4a16"), machine=machine)
    >>> step = predict_step(setup, [Sequences(batch=1, new=1, context=512)], "expected")
    >>> binding(setup, step).split(",")[0]
    'starts of kernels 53%'
    """
    parts = {"links between machines": float(step.link_s)}
    starts_s = 0.0
    for one in step.operators:
        role = role_of(one.operator)
        path = path_of(setup, role).title
        name = {
            "attention": "the KV cache",
            "vector": "steps between products",
            "head": f"the head in {setup.format.storage('head').name}",
        }.get(role, f"{one.bound} of products ({path})")
        parts[name] = parts.get(name, 0.0) + float(one.time_s - one.start_s)
        starts_s += float(one.start_s)
    parts["starts of kernels"] = starts_s
    whole = sum(parts.values())
    shown = sorted(parts.items(), key=lambda pair: -pair[1])[:MOST_PARTS]
    named = [f"{name} {s / whole:.0%}" for name, s in shown if s >= LEAST_SHARE * whole]
    return ", ".join(named)
