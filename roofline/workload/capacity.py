"""Memory of a server, divided: what is left for the KV cache, and the users that it holds."""

import math
from dataclasses import dataclass

from roofline.runtime.server import Server
from roofline.workload.memory import expert_bytes, largest_activations, weight_bytes
from roofline.workload.operators import operators
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Memory of all machines together in bytes, and what a user's cache takes of it."""

    setup: Setup
    server: Server
    total_bytes: float
    weight_bytes: float
    #: Activations of a step with as many prompt tokens as the server takes.
    activation_bytes: float
    #: What the server leaves to others, and what contexts and graphs take.
    reserve_bytes: float

    @property
    def cache_bytes(self) -> float:
        """Bytes left for the KV cache; negative where even weights don't fit."""
        used = self.weight_bytes + self.activation_bytes + self.reserve_bytes
        return self.total_bytes - used

    @property
    def _token_layer_bytes(self) -> float:
        """Bytes of one token in one layer, with the copies that machines with shared heads hold."""
        setup = self.setup
        copies = setup.machines / setup.kv_split if setup.parallel == "tensor" else 1.0
        return setup.format.kv_bytes(setup.shape) * copies

    def user_bytes(self, tokens: int) -> float:
        """Return the cache of one user with ``tokens`` tokens, in whole blocks."""
        shape, block = self.setup.shape, self.server.block_tokens
        padded = math.ceil(tokens / block) * block
        window = min(padded, shape.window or padded)
        kept = shape.global_layers * padded + (shape.layers - shape.global_layers) * window
        return self._token_layer_bytes * kept

    def needed_bytes(self, users: int, tokens: int) -> float:
        """Return the memory that ``users`` with ``tokens`` tokens each need, reserve included."""
        return self.total_bytes - self.cache_bytes + users * self.user_bytes(tokens)

    def missing_bytes(self, users: int, tokens: int) -> float:
        """Return the bytes that are missing for them; 0 if they fit."""
        return max(0.0, self.needed_bytes(users, tokens) - self.total_bytes)

    def users(self, tokens: int) -> int:
        """Return the users with ``tokens`` tokens each that fit, at most those of one step."""
        most = self.server.largest_batch(self.setup.machine)
        return max(0, min(most, math.floor(self.cache_bytes / self.user_bytes(tokens))))

    def context(self, users: int) -> int:
        """Return the tokens that each of ``users`` can have, in whole blocks.

        A layer with a window keeps no more than its window.
        """
        shape, block = self.setup.shape, self.server.block_tokens
        layer_tokens = max(0.0, self.cache_bytes) / users / self._token_layer_bytes
        window = shape.window or math.inf
        tokens = layer_tokens / shape.layers
        if tokens > window:
            windowed = shape.layers - shape.global_layers
            rest = layer_tokens - windowed * window
            tokens = rest / shape.global_layers if shape.global_layers else math.inf
        if tokens >= shape.max_context:
            return shape.max_context
        return math.floor(tokens / block) * block


def capacity(setup: Setup, server: Server) -> Capacity:
    """Return the division of the memory of a setup's machines by a server.

    >>> from hw.machine import GIB, load_machine
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.server import VLLM
    >>> from roofline.runtime.serving_format import parse_format
    >>> machine, shape = load_machine("rtx-4090"), load_model("llama-3.1-8b")
    >>> found = capacity(Setup(shape=shape, format=parse_format("w4a16"), machine=machine), VLLM)
    >>> round(found.weight_bytes / GIB, 2), found.users(8192), found.context(4)
    (5.31, 15, 31952)
    """
    shape, machine = setup.shape, setup.machine
    total = machine.capacity_bytes * setup.machines
    weights = weight_bytes(shape, setup.format)
    if setup.parallel == "expert":
        weights += (setup.machines - 1) * (weights - expert_bytes(shape, setup.format))
    step = [Sequences(batch=1, new=min(server.chunk(machine), shape.max_context))]
    left = (1.0 - server.memory_share) * total
    return Capacity(
        setup=setup,
        server=server,
        total_bytes=total,
        weight_bytes=weights,
        activation_bytes=float(largest_activations(operators(shape, setup.format, step))),
        reserve_bytes=left + setup.machines * server.reserved_bytes,
    )
