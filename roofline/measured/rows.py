"""Rates of many requests of one setup in one array, for long tables of measured speeds.

The numbers equal those of :func:`roofline.time.serving.outcome` for each request.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from roofline.time.predict import StepTime, predict_step
from roofline.time.rates import Estimate
from roofline.time.serving import Request, prefill_s
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences

#: Most decode steps in one array; a longer answer is sampled at this many lengths.
MOST_LENGTHS = 1 << 16


def request_rates(
    setup: Setup, requests: Sequence[Request], phase: str, estimate: Estimate
) -> list[float]:
    """Return tokens/s of prefill, of decode, or of output tokens in whole requests.

    >>> from hw.machine import load_machine
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> machine, shape = load_machine("l4"), load_model("llama-2-7b")
    >>> setup = Setup(shape=shape, format=parse_format("w4a16"), machine=machine)
    >>> requests = [Request(batch=1), Request(batch=8)]
    >>> one, eight = request_rates(setup, requests, "decode", "expected")
    >>> 4 < eight / one < 8
    True
    """
    found: dict[Request, float] = {}
    for part in _parts(list(dict.fromkeys(requests))):
        found.update(zip(part, _rates(setup, part, phase, estimate), strict=True))
    return [found[request] for request in requests]


def request_limits(setup: Setup, requests: Sequence[Request], phase: str) -> list[str]:
    """Return the limit of most of the prompt, or of the decode step in the middle of the answer."""
    batch, prompt, output = _columns(requests)
    step = (
        Sequences(batch=batch, new=prompt)
        if phase == "prefill"
        else Sequences(batch=batch, new=1, context=prompt + output // 2)
    )
    return _limits(predict_step(setup, [step], "expected"), len(requests))


def _rates(
    setup: Setup, requests: Sequence[Request], phase: str, estimate: Estimate
) -> list[float]:
    batch, prompt, output = _columns(requests)
    if phase != "decode":
        step = predict_step(setup, [Sequences(batch=batch, new=prompt)], estimate)
        whole = np.broadcast_to(step.time_s, batch.shape)
        prefill = np.array(
            [
                prefill_s(setup, request.batch * request.prompt, float(step_s), estimate)
                for request, step_s in zip(requests, whole, strict=True)
            ]
        )
        if phase == "prefill":
            return _floats(batch * prompt / prefill)
    tpot = _tpot_s(setup, requests, estimate)
    if phase == "decode":
        return _floats(batch / tpot)
    return _floats(batch * output / (prefill + tpot * output))


def _floats(rates: np.ndarray) -> list[float]:
    return [float(rate) for rate in rates]


def _tpot_s(setup: Setup, requests: Sequence[Request], estimate: Estimate) -> np.ndarray:
    """Return the mean time of a token over every length of each request."""
    contexts = [request.prompt + _steps(request.output) for request in requests]
    counts = [len(one) for one in contexts]
    every = Sequences(
        batch=np.repeat(_columns(requests)[0], counts), new=1, context=np.concatenate(contexts)
    )
    times = np.broadcast_to(predict_step(setup, [every], estimate).time_s, sum(counts))
    ends = np.cumsum(counts)
    return np.array(
        [np.mean(times[end - count : end]) for end, count in zip(ends, counts, strict=True)]
    )


def _steps(output: int) -> np.ndarray:
    if output <= MOST_LENGTHS:
        return np.arange(output, dtype=float)
    return np.linspace(0.0, output - 1.0, MOST_LENGTHS)


def _columns(requests: Sequence[Request]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return batches, prompts and outputs as floats, whose products do not overflow."""
    rows = np.array([(r.batch, r.prompt, r.output) for r in requests], float)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _parts(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Yield groups of requests whose decode steps fit one array."""
    part: list[Request] = []
    lengths = 0
    for request in requests:
        if part and lengths + request.output > MOST_LENGTHS:
            yield part
            part, lengths = [], 0
        part.append(request)
        lengths += request.output
    if part:
        yield part


def _limits(step: StepTime, rows: int) -> list[str]:
    """Return :attr:`StepTime.bound` of every row of a step whose amounts are arrays."""
    times: dict[str, np.ndarray] = {}
    for op in step.operators:
        seconds = np.broadcast_to(op.time_s, rows)
        bounds = op.bounds(rows)
        for name in np.unique(bounds):
            here = np.where(bounds == name, seconds, 0.0)
            times[name] = times.get(name, 0.0) + here
    names = list(times)
    largest = np.argmax(np.stack([times[name] for name in names]), axis=0)
    return [names[index] for index in largest]
