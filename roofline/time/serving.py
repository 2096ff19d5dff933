"""Whole requests: time to first token, time per output token, cost, speculation, pipelines.

All sequences of a batch have prompts of one length and answers of one length.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from roofline.time.energy import StepEnergy, step_energy
from roofline.time.predict import StepTime, predict_step
from roofline.time.rates import Estimate
from roofline.workload.memory import MemoryUse, largest_batch, memory_use
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``batch`` sequences with ``prompt`` tokens, each answered with ``output`` tokens."""

    batch: int = 1
    prompt: int = 512
    output: int = 128
    #: Tokens of a prompt in one step; None for the whole prompt.
    chunk: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "prompt", "output", "chunk"):
            value = getattr(self, name)
            if value is not None and not 1 <= value < np.inf:
                raise ValueError(f"{name} is {value}; at least 1")

    @property
    def step_tokens(self) -> int:
        """Tokens of the largest step of a prompt."""
        return min(self.chunk or self.prompt, self.prompt)

    @property
    def length(self) -> int:
        """Tokens of a sequence at its end, prompt included."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """Speculative decoding: a draft model proposes tokens, which the model checks in one step."""

    draft: Setup
    proposals: int = 4
    #: Probability that the model accepts a proposed token.
    acceptance: float = 0.8

    def __post_init__(self) -> None:
        expected_tokens(self.proposals, self.acceptance)

    @property
    def tokens(self) -> float:
        """Mean number of tokens that one step gives."""
        return expected_tokens(self.proposals, self.acceptance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Times of a request in one estimate, bound or expectation."""

    #: Seconds of the whole prompt, all chunks together.
    prefill_s: float
    #: Mean seconds between generated tokens of one sequence.
    tpot_s: float
    request: Request
    #: Last step of the prompt, and the decode step in the middle of the answer.
    prefill: StepTime
    decode: StepTime

    @property
    def ttft_s(self) -> float:
        """Time to the first token, which the last step of the prompt makes; without a queue."""
        return self.prefill_s

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens a second, of all sequences."""
        return self.request.batch * self.request.prompt / self.prefill_s

    @property
    def decode_tokens_per_s(self) -> float:
        """Generated tokens a second while decoding, of all sequences."""
        return self.request.batch / self.tpot_s

    @property
    def output_tokens_per_s(self) -> float:
        """Generated tokens a second of whole requests, of all sequences."""
        whole = self.prefill_s + self.tpot_s * self.request.output
        return self.request.batch * self.request.output / whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Bound, expectation, memory and energy of a request."""

    setup: Setup
    request: Request
    bound: Outcome
    expected: Outcome
    memory: MemoryUse
    #: Sequences that fit the whole memory.
    largest_batch: int
    #: Energy of one token of each sequence in the middle of the answer, and of the prompt's last
    #: step.
    decode_energy: StepEnergy
    prefill_energy: StepEnergy

    @property
    def energy_per_token_j(self) -> float:
        """Nominal energy of one generated token."""
        return self.decode_energy.total.nominal_j / self.request.batch

    def cost_usd_per_mtok(self, utilization: float = 1.0) -> float | None:
        """Return the cost of a million generated tokens; None if the machine has no price."""
        if not 0 < utilization <= 1:
            raise ValueError(f"utilization is {utilization}; it is more than 0 and at most 1")
        price = self.setup.machine.price_usd_per_hour
        if price is None:
            return None
        rate = self.expected.output_tokens_per_s * SECONDS_PER_HOUR * utilization
        return price.value * self.setup.machines / rate * 1e6


def predict(
    setup: Setup, request: Request, *, speculation: Speculation | None = None
) -> Prediction:
    """Return times, memory and energy of a request, whether or not the memory holds it.

    With a draft, both models run the prompt and keep a KV cache; a decode step is then the check
    of the proposals.

    Raises
    ------
    ValueError
        The request is longer than the model's context.
    """
    draft = speculation.draft if speculation else None
    for shape in (setup.shape, *([draft.shape] if draft else [])):
        if request.length > shape.max_context:
            raise ValueError(
                f"{shape.name} has a context of {shape.max_context} tokens, and prompt and"
                f" output have {request.length}"
            )
    expected = outcome(setup, request, "expected", speculation=speculation)
    new = request.step_tokens
    memory = memory_use(setup, batch=request.batch, length=request.length, new=new)
    decode_energy = step_energy(setup, expected.decode)
    if draft and speculation:
        memory = memory + memory_use(draft, batch=request.batch, length=request.length, new=new)
        propose = step_energy(draft, predict_step(draft, [_middle(request)], "expected"))
        both = propose.scaled(speculation.proposals) + decode_energy
        decode_energy = both.scaled(1 / speculation.tokens)
    return Prediction(
        setup=setup,
        request=request,
        bound=outcome(setup, request, "bound", speculation=speculation),
        expected=expected,
        memory=memory,
        largest_batch=largest_batch(setup, length=request.length, new=new, usable=1.0, draft=draft),
        decode_energy=decode_energy,
        prefill_energy=step_energy(setup, expected.prefill),
    )


def _middle(request: Request, *, new: int = 1) -> Sequences:
    """Return the decode step in the middle of the answer."""
    context = request.prompt + request.output // 2
    return Sequences(batch=request.batch, new=new, context=context)


def outcome(
    setup: Setup, request: Request, estimate: Estimate, *, speculation: Speculation | None = None
) -> Outcome:
    """Return the times of a request in one estimate; decode is the mean over all lengths.

    With a draft, decode is the step in the middle of the answer.
    """
    if speculation is not None:
        return _speculative(setup, request, estimate, speculation)
    chunks = _chunks(request)
    steps = [predict_step(setup, [part], estimate) for part in chunks]
    contexts = request.prompt + np.arange(request.output)
    every = Sequences(batch=request.batch, new=1, context=contexts)
    times = np.broadcast_to(predict_step(setup, [every], estimate).time_s, contexts.shape)
    middle = replace(every, context=request.prompt + request.output // 2)
    return Outcome(
        prefill_s=sum(
            prefill_s(setup, part.tokens, float(step.time_s), estimate)
            for part, step in zip(chunks, steps, strict=True)
        ),
        tpot_s=float(np.mean(times)),
        request=request,
        prefill=steps[-1],
        decode=predict_step(setup, [middle], estimate),
    )


def prefill_s(setup: Setup, tokens: int, step_s: float, estimate: Estimate) -> float:
    """Return the time of a prompt whose tokens take ``step_s`` through all layers in sequence.

    In a pipeline of GPUs an engine with several passes starts each pass on the first GPU while
    earlier passes run on the next ones (llama.cpp, pull request 6017).
    """
    backend = setup.backend
    if estimate == "bound" or setup.parallel != "pipeline" or backend is None:
        return step_s
    passes = math.ceil(tokens / backend.ubatch_tokens)
    full = backend.batch_tokens // backend.ubatch_tokens
    whole, rest = divmod(passes, full)
    stages, pass_s = setup.machines, step_s / passes
    last_s = pipelined_s(pass_s, stages=stages, micro_batches=rest) if rest else 0.0
    return whole * pipelined_s(pass_s, stages=stages, micro_batches=full) + last_s


def _chunks(request: Request) -> list[Sequences]:
    size = request.chunk or request.prompt
    starts = range(0, request.prompt, size)
    return [
        Sequences(batch=request.batch, new=min(size, request.prompt - start), context=start)
        for start in starts
    ]


def _speculative(
    setup: Setup, request: Request, estimate: Estimate, speculation: Speculation
) -> Outcome:
    plain = outcome(setup, request, estimate)
    return replace(
        plain,
        prefill_s=plain.prefill_s + outcome(speculation.draft, request, estimate).prefill_s,
        tpot_s=speculative_tpot_s(setup, speculation, request, estimate),
        decode=predict_step(setup, [_middle(request, new=speculation.proposals + 1)], estimate),
    )


def speculative_tpot_s(
    setup: Setup, speculation: Speculation, request: Request, estimate: Estimate = "expected"
) -> float:
    """Return the time of a token when a draft proposes tokens that the model checks in one step.

    Leviathan et al., arXiv:2211.17192: a step gives ``(1 - a**(g + 1)) / (1 - a)`` tokens for ``g``
    proposals of which each is accepted with probability ``a``.

    >>> expected_tokens(4, 0.8)
    3.3616
    """
    proposals = speculation.proposals
    propose = predict_step(speculation.draft, [_middle(request)], estimate)
    check = predict_step(setup, [_middle(request, new=proposals + 1)], estimate)
    step_s = proposals * float(propose.time_s) + float(check.time_s)
    return step_s / speculation.tokens


def expected_tokens(proposals: int, acceptance: float) -> float:
    """Return the tokens that one step of speculative decoding gives on average."""
    if proposals < 1 or not 0 <= acceptance <= 1:
        raise ValueError(
            f"{proposals} proposals of probability {acceptance}: at least 1, and from 0 to 1"
        )
    if acceptance == 1:
        return proposals + 1.0
    return round((1 - acceptance ** (proposals + 1)) / (1 - acceptance), 12)


def pipelined_s(step_s: float, *, stages: int, micro_batches: int) -> float:
    """Return the time of micro-batches of ``step_s`` each through balanced stages.

    >>> pipelined_s(8.0, stages=4, micro_batches=3)
    12.0
    """
    return step_s + (micro_batches - 1) * step_s / stages
