"""Learn rotations that lower the divergence of the quantized model from the float model.

The model has random rotations already; a matrix R1 of the residual stream and a matrix R2 of the
value heads of each layer are learned on top of them, from the identity. Blocks are run one after
another, forwards and then backwards from their stored inputs, so that the activations of one block
are in memory at a time. Rounding is straight through in the backward pass.

Results follow from float32 sums, which differ between machines in the last bits.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Float64, Int32

from numerics import Scheme
from numerics.solvers.orthogonal import cayley_step
from sim.model.config import ModelConfig
from sim.model.forward import block, embed, normalize
from sim.model.head import divergence, logits
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params
from sim.model.rope import rope_tables
from sim.model.straight_through import rounded
from sim.model.tensors import EMBEDDING, HEAD, block_slots, tensor_shapes
from sim.sources.source import ModelSource

FLOAT = LayerNumerics()
States = Float32[Array, "n t d"]
Residual = Float32[Array, "d d"]
Values = Float32[Array, "size size"]
#: Schemes of the linear layers of a block, by name such as ``mlp.up_proj``; hashable for jit.
Schemes = tuple[tuple[str, Scheme], ...]
Tensors = Mapping[str, Float32[Array, "..."]]
_READERS = (
    "q_proj.weight",
    "k_proj.weight",
    "v_proj.weight",
    "gate_proj.weight",
    "up_proj.weight",
)


@dataclass(slots=True, kw_only=True)
class Rotations:
    """Matrices being learned, in float64."""

    #: R1.
    residual: Float64[np.ndarray, "d d"]
    #: R2 of each layer, the same for its heads.
    values: Float64[np.ndarray, "layers size size"]

    @classmethod
    def identity(cls, config: ModelConfig) -> "Rotations":
        """Return matrices that change nothing."""
        size = np.eye(config.head_dim)
        return cls(residual=np.eye(config.hidden_size), values=np.stack([size] * config.layers))

    def step(self, gradient: "Rotations", rate: float) -> "Rotations":
        """Return the matrices after a step against a gradient."""
        return Rotations(
            residual=cayley_step(self.residual, gradient.residual, rate),
            values=cayley_step(self.values, gradient.values, rate),
        )


@dataclass(slots=True, kw_only=True, eq=False)
class RotationProblem:
    """A model in memory, how a recipe rounds it, and the float model's outputs on windows.

    Embedding and head stay unrounded.
    """

    config: ModelConfig
    tables: Params
    blocks: list[Tensors]
    schemes: tuple[Schemes, ...]
    numerics: tuple[LayerNumerics, ...]
    tokens: Int32[np.ndarray, "n t"]
    #: Final normalised states of the float model.
    targets: Float32[np.ndarray, "n t d"]

    @classmethod
    def of(
        cls,
        source: ModelSource,
        tokens: Int32[np.ndarray, "n t"],
        schemes: Mapping[str, Scheme],
        numerics: tuple[LayerNumerics, ...] | None,
    ) -> "RotationProblem":
        """Read a model whose norms are folded, and run it in float."""
        config = source.config
        slots, shapes = block_slots(config), tensor_shapes(config)
        tables = {b: n for b, n in (EMBEDDING | HEAD).items() if n in shapes}
        problem = cls(
            config=config,
            tables={b: jnp.asarray(source.read(n)) for b, n in tables.items()},
            blocks=[
                {n: jnp.asarray(source.read(f"layers.{i}.{n}")) for n in slots}
                for i in range(config.layers)
            ],
            schemes=((),) * config.layers,
            numerics=(FLOAT,) * config.layers,
            tokens=tokens,
            targets=np.empty((*tokens.shape, config.hidden_size), np.float32),
        )
        for i in range(len(tokens)):
            states = problem._forward(tokens[i : i + 1], Rotations.identity(config))
            problem.targets[i] = _final(states[-1][0], problem.tables, config)
        problem.schemes = tuple(_of_block(schemes, i) for i in range(config.layers))
        problem.numerics = problem.numerics if numerics is None else numerics
        return problem

    def gradient(self, windows: np.ndarray, at: Rotations) -> tuple[float, Rotations]:
        """Return the mean divergence in nats on some windows, and its derivatives."""
        states = self._forward(self.tokens[windows], at)
        residual = jnp.asarray(at.residual, jnp.float32)
        loss, (back, d_residual) = _loss(
            states[-1], residual, self.tables, self.targets[windows], self.config
        )
        total = Rotations(
            residual=np.array(d_residual, np.float64), values=np.zeros_like(at.values)
        )
        for i in reversed(range(self.config.layers)):
            back, d_residual, d_values = _backward(
                back, states[i], residual, *self._block(i, at), **self._static(i)
            )
            total.residual += np.asarray(d_residual)
            total.values[i] = d_values
        # Embeddings are rotated too: x = e R1.
        embedded = _embedded(self.tokens[windows], self.tables, self.config)
        total.residual += np.einsum("ntd,nte->de", np.asarray(embedded), np.asarray(back))
        return float(loss), total

    def _forward(self, tokens: Int32[np.ndarray, "n t"], at: Rotations) -> list[States]:
        """Return the inputs of all blocks, and the output of the last one."""
        residual = jnp.asarray(at.residual, jnp.float32)
        embedded = _embedded(tokens, self.tables, self.config)
        states = [jnp.matmul(embedded, residual, precision="highest")]
        for i in range(self.config.layers):
            states.append(
                _block_output(states[i], residual, *self._block(i, at), **self._static(i))
            )
        return states

    def _block(self, index: int, at: Rotations) -> tuple[Values, Tensors]:
        return jnp.asarray(at.values[index], jnp.float32), self.blocks[index]

    def _static(self, index: int) -> dict[str, object]:
        return {
            "config": self.config,
            "schemes": self.schemes[index],
            "numerics": self.numerics[index],
            "window": self.config.windows[index],
        }


def learn(
    problem: RotationProblem, *, steps: int, windows: int, rate: float
) -> tuple[Rotations, list[float]]:
    """Return rotations after Cayley SGD, and the loss before each step.

    The windows of a step follow those of the step before, round and round. The rate falls to zero
    as a cosine.
    """
    found, losses = Rotations.identity(problem.config), []
    for step in range(steps):
        chosen = (np.arange(windows) + step * windows) % len(problem.tokens)
        loss, gradient = problem.gradient(chosen, found)
        losses.append(loss)
        found = found.step(gradient, rate * (1 + math.cos(math.pi * step / steps)) / 2)
    return found, losses


def rotated_block(
    tensors: Tensors, residual: Residual, values: Values, config: ModelConfig, schemes: Schemes
) -> Params:
    """Return the parameters of a block whose tensors are rotated, then rounded."""
    of_member = dict(schemes)
    parts: dict[str, list[Array]] = {}
    for name, (buffer, _) in block_slots(config).items():
        tensor = _rotated(name, tensors[name], residual, values)
        member, _, kind = name.rpartition(".")
        if kind == "weight" and member in of_member:
            tensor = rounded(tensor, of_member[member])
        parts.setdefault(buffer, []).append(tensor)
    return {buffer: jnp.concatenate(arrays) for buffer, arrays in parts.items()}


def _rotated(name: str, tensor: Array, residual: Residual, values: Values) -> Array:
    dot = partial(jnp.matmul, precision="highest")
    if name.endswith(_READERS):
        tensor = dot(tensor, residual)
    if name == "self_attn.o_proj.weight":
        tensor = dot(tensor.reshape(-1, len(values)), values).reshape(tensor.shape)
    if "o_proj" in name or "down_proj" in name:
        tensor = dot(residual.T, tensor)
    if "v_proj" in name:
        heads = tensor.reshape(-1, len(values), *tensor.shape[1:])
        tensor = dot(values.T, heads.reshape(*heads.shape[:2], -1)).reshape(tensor.shape)
    return tensor


def _final(x: Float32[Array, "t d"], tables: Params, config: ModelConfig) -> Array:
    return normalize(x, tables, "final_norm", config) if config.final_norm else x


def _of_block(schemes: Mapping[str, Scheme], index: int) -> Schemes:
    prefix = f"layers.{index}."
    return tuple((n.removeprefix(prefix), s) for n, s in schemes.items() if n.startswith(prefix))


@partial(jax.jit, static_argnames="config")
def _embedded(tokens: Int32[Array, "n t"], tables: Params, config: ModelConfig) -> States:
    return jax.vmap(partial(embed, tables, config=config))(tokens)


@partial(jax.jit, static_argnames=("config", "schemes", "numerics", "window"))
def _block_output(
    x: States,
    residual: Residual,
    values: Values,
    tensors: Tensors,
    *,
    config: ModelConfig,
    schemes: Schemes,
    numerics: LayerNumerics,
    window: int | None,
) -> States:
    params = rotated_block(tensors, residual, values, config, schemes)
    count = x.shape[1]
    rope = None if config.rope is None else rope_tables(config.rope, count)
    seen = None if window is None or window >= count else window
    return jax.vmap(lambda x: block(x, params, config, numerics, rope, seen)[0])(x)


@partial(jax.jit, static_argnames=("config", "schemes", "numerics", "window"))
def _backward(
    back: States, x: States, residual: Residual, values: Values, tensors: Tensors, **static: object
) -> tuple[States, Residual, Values]:
    """Return the derivatives for the block's input, R1 and R2, given those for its output."""

    def run(x: States, residual: Residual, values: Values) -> States:
        output: States = _block_output(x, residual, values, tensors, **static)
        return output

    found: tuple[States, Residual, Values] = jax.vjp(run, x, residual, values)[1](back)
    return found


@partial(jax.jit, static_argnames="config")
def _loss(
    x: States,
    residual: Residual,
    tables: Params,
    targets: States,
    config: ModelConfig,
) -> tuple[Float32[Array, ""], tuple[States, Residual]]:
    """Return the mean divergence of next-token distributions, and its derivatives for x and R1."""

    def mean(x: States, residual: Residual) -> Float32[Array, ""]:
        head = {**tables, "head": jnp.matmul(tables["head"], residual, precision="highest")}
        total: Array = jnp.float32(0)
        for states, target in zip(x, targets, strict=True):
            found = logits(_final(states, tables, config), head, config)
            wanted = logits(target, tables, config)
            total = total + divergence(wanted, found)[0].mean()
        return total / len(x)

    found: tuple[Float32[Array, ""], tuple[States, Residual]]
    found = jax.value_and_grad(mean, argnums=(0, 1))(x, residual)
    return found
