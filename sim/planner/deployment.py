"""One deployment: a model in a format on machines, with its memory, times, energy and cost."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from roofline.time.energy import step_energy
from roofline.time.predict import predict_step, range_s
from roofline.time.serving import SECONDS_PER_HOUR
from roofline.workload.capacity import Capacity, capacity
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences
from sim.deployment.binding import binding
from sim.planner.losses import Loss

#: Tokens of a million, of which prices are given.
MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Users that are served at once, and the tokens of each."""

    users: int
    context: int
    output: int

    @property
    def prompt(self) -> int:
        """Tokens of a prompt."""
        return self.context - self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Predictions of one deployment; times in seconds, of single users."""

    setup: Setup
    load: Load
    capacity: Capacity
    loss: Loss | None
    #: Prompt of one user alone: a bound and an expectation.
    prompt_s: tuple[float, float]
    #: First token of one user while all others get tokens: chunks of the prompt share steps.
    ttft_s: float
    #: One token of every user: a bound and an expectation, and the range to expect.
    tpot_s: tuple[float, float]
    tpot_range_s: tuple[float, float]
    #: Limits of the prompt's and of the decode step, and what takes most of the decode step.
    limits: tuple[str, str]
    #: Joules of an output token, those of its prompt included.
    energy_j: float

    @property
    def fits(self) -> bool:
        """Whether memory and server hold all users."""
        return self.capacity.users(self.load.context) >= self.load.users

    @property
    def missing_bytes(self) -> float:
        """Bytes that the memory lacks; 0 if the load fits."""
        return self.capacity.missing_bytes(self.load.users, self.load.context)

    @property
    def all_at_once_s(self) -> float:
        """Seconds to the first token of the last user, if all ask at the same time."""
        return self.load.users * self.prompt_s[1]

    @property
    def tokens_per_s(self) -> float:
        """Output tokens a second of all users, whole requests, one after another for each user."""
        load = self.load
        busy_s = load.users * self.prompt_s[1] + load.output * self.tpot_s[1]
        return load.users * load.output / busy_s

    @property
    def usd_per_hour(self) -> float | None:
        """Price of all machines; None if it is unknown."""
        price = self.setup.machine.price_usd_per_hour
        return None if price is None else price.value * self.setup.machines

    @property
    def usd_per_mtok(self) -> float | None:
        """Cost of a million output tokens, their prompts included."""
        price = self.usd_per_hour
        return None if price is None else price / SECONDS_PER_HOUR / self.tokens_per_s * MILLION

    @property
    def cache(self) -> str:
        """Format of the KV cache."""
        return self.setup.format.kv

    @property
    def name(self) -> str:
        """Format of the weights in the words of a command."""
        return self.setup.format.name.split(",")[0]

    def meets(self, *, ttft_s: float | None, tpot_s: float | None) -> bool:
        """Return whether times are within limits."""
        is_soon = ttft_s is None or self.ttft_s <= ttft_s
        return is_soon and (tpot_s is None or self.tpot_s[1] <= tpot_s)

    def to_record(self) -> dict[str, Any]:
        """Return the deployment as plain data; units are in the names."""
        load, memory = self.load, self.capacity
        return {
            "model": self.setup.shape.name,
            "machine": self.setup.machine.name,
            "machines": self.setup.machines,
            "format": self.name,
            "activations": self.setup.format.activations,
            "kv": self.cache,
            "engine": memory.server.name,
            "users": load.users,
            "context_tokens": load.context,
            "output_tokens": load.output,
            "fits": self.fits,
            "missing_bytes": self.missing_bytes,
            "users_that_fit": memory.users(load.context),
            "context_that_fits": memory.context(load.users),
            "total_bytes": memory.total_bytes,
            "weight_bytes": memory.weight_bytes,
            "kv_bytes": load.users * memory.user_bytes(load.context),
            "activation_bytes": memory.activation_bytes,
            "reserve_bytes": memory.reserve_bytes,
            "prompt_s": {"bound": self.prompt_s[0], "expected": self.prompt_s[1]},
            "ttft_s": {"while_others_decode": self.ttft_s, "all_at_once": self.all_at_once_s},
            "tpot_s": {
                "bound": self.tpot_s[0],
                "expected": self.tpot_s[1],
                "low": self.tpot_range_s[0],
                "high": self.tpot_range_s[1],
            },
            "output_tokens_per_s": self.tokens_per_s,
            "limit": {"prefill": self.limits[0], "decode": self.limits[1]},
            "energy_per_output_token_j": self.energy_j,
            "usd_per_hour": self.usd_per_hour,
            "usd_per_million_output_tokens": self.usd_per_mtok,
            "loss_nats": None if self.loss is None else self.loss.nats,
            "loss_error_nats": None if self.loss is None else self.loss.error,
        }


def deploy(setup: Setup, load: Load, loss: Loss | None) -> Deployment:
    """Return the predictions of a deployment, whether or not its memory holds the load."""
    server = setup.runtime.server
    memory = capacity(setup, server)
    chunk = max(1, server.chunk(setup.machine) - (load.users - 1))
    decode = Sequences(batch=load.users, new=1, context=load.prompt + load.output // 2)
    steps = {name: predict_step(setup, [decode], name) for name in ("bound", "expected")}
    prompt = predict_step(setup, [Sequences(batch=1, new=load.prompt)], "expected")
    tpot_s = (float(steps["bound"].time_s), float(steps["expected"].time_s))
    low, high = range_s(setup, tpot_s[1])
    # Energy of all users' prompts and answers, for each token of the answers.
    joules = step_energy(setup, prompt).total.nominal_j / load.output
    joules += step_energy(setup, steps["expected"]).total.nominal_j / load.users
    return Deployment(
        setup=setup,
        load=load,
        capacity=memory,
        loss=loss,
        prompt_s=(_prompt_s(setup, load, load.prompt, "bound"), _prompt_s(setup, load, chunk)),
        ttft_s=_prompt_s(setup, load, chunk, others=load.users - 1),
        tpot_s=tpot_s,
        tpot_range_s=(max(float(low), tpot_s[0]), float(high)),
        limits=(prompt.bound, steps["expected"].bound),
        energy_j=joules,
    )


def _prompt_s(
    setup: Setup, load: Load, chunk: int, estimate: Any = "expected", *, others: int = 0
) -> float:
    """Return the seconds of one prompt in chunks, while ``others`` get a token in each step."""
    starts = np.arange(0, load.prompt, chunk, dtype=float)
    new = np.minimum(chunk, load.prompt - starts)
    step = [Sequences(batch=1, new=new, context=starts)]
    if others:
        middle = load.prompt + load.output // 2
        step.append(Sequences(batch=others, new=1, context=middle))
    times = np.broadcast_to(predict_step(setup, step, estimate).time_s, starts.shape)
    return float(np.sum(times))


def limiter(found: Deployment) -> str:
    """Return what takes most of a decode step of a deployment, in a few words."""
    load = found.load
    middle = Sequences(batch=load.users, new=1, context=load.prompt + load.output // 2)
    return binding(found.setup, predict_step(found.setup, [middle], "expected"))


def next_power_of_two(count: int) -> int:
    """Return the next power of two above a count.

    >>> next_power_of_two(1), next_power_of_two(3)
    (2, 4)
    """
    return 1 << math.floor(math.log2(count)) + 1
