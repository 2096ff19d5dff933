"""``--method`` of ``qsim roofline``: the run-time work and the stored bits that a method adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from numerics import Scheme, parse_scheme
from numerics.names.catalog import SCHEMES
from roofline.model.model_shape import ModelShape
from roofline.runtime.engine import engine_for
from roofline.runtime.online_work import NO_WORK, LowRank, OnlineWork
from roofline.runtime.serving_format import ServingFormat
from roofline.runtime.storage import KV_NAMES, PLAIN, Storage
from roofline.workload.online import check_dense
from sim.deployment.cells import ONLINE_WORDS
from sim.deployment.scenario import Scenario
from sim.deployment.shapes import config_of
from sim.errors import user_errors
from sim.methods.chain import Chain, chain_text, parse_chain
from sim.methods.step import Repair
from sim.model.config import ModelConfig
from sim.model.layer_numerics import LayerNumerics
from sim.model.online import Online
from sim.model.online_cost import online_cost
from sim.model.tensors import fused_members, layer_shapes

MILLI = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A chain of steps, and the models that it is applied to."""

    chain: Chain
    #: Configurations of models that were opened, by their sizes; others follow from the sizes.
    configs: Mapping[ModelShape, ModelConfig]

    @property
    def text(self) -> str:
        """Canonical text of the chain."""
        return chain_text(self.chain)

    def applied(self, shape: ModelShape, fmt: ServingFormat) -> tuple[ModelShape, ServingFormat]:
        """Return sizes and format of a model whose codes the method chose.

        Raises
        ------
        UserError
            The method does not suit the format or the model.
        """
        with user_errors(ValueError):
            self._check_rounds(fmt)
            if self.chain == Chain(solver=self.chain.solver):
                self._check_matrices(fmt, _matrices(shape))
                return shape, fmt
            check_dense(shape)
            config = self._transformed(self.config(shape))
            self._check_matrices(fmt, linear_shapes(config))
            for transform in self.chain.block:
                transform.check(config, _numerics(fmt))
            work = _work(config, self.chain.repair)
            if work != NO_WORK and fmt.packing != "plain":
                raise ValueError(
                    f"method '{self.text}' needs work at run time that {engine_for(fmt).name}, "
                    f"which runs {fmt.name}, does not have; take a format such as w4a16"
                )
        return replace(shape, tied=config.tie_embeddings), replace(fmt, online=work)

    def config(self, shape: ModelShape) -> ModelConfig:
        """Return the configuration of a model before its transforms."""
        return self.configs.get(shape) or config_of(shape)

    def note(self, shape: ModelShape, one: Scenario, fmt: ServingFormat) -> str:
        """Return what the method costs, in one line; sizes are those before its transforms."""
        head = f"{self.text} in {one.model}"
        config = self.config(shape)
        parts = []
        if fmt.online.low_rank is not None:
            extra = sum(map(self.chain.extra_bits, linear_shapes(config)))
            stored = shape.layers * extra / 8e6
            parts.append(f"factors of rank {fmt.online.low_rank.rank}, {stored:.3g} MB")
        if replace(fmt.online, low_rank=None) != NO_WORK:
            cost = online_cost(self._transformed(config))
            parts.append(
                f"Hadamard transforms, {cost.additions:,} additions and "
                f"{cost.multiplications:,} multiplications a token"
            )
        if shape.tied and not self._transformed(config).tie_embeddings:
            parts.append("a head that is stored apart from the embedding")
        if fmt.online == NO_WORK:
            return f"{head}: {'; '.join(['no run-time work', *parts])}"
        time_s = sum(
            p.time_s for p in one.points if p.phase == "decode" and p.name.endswith(ONLINE_WORDS)
        )
        return f"{head}: {'; '.join(parts)}; {time_s * MILLI:.3g} ms of a token"

    def _check_rounds(self, fmt: ServingFormat) -> None:
        """Raise ValueError where the format rounds nothing that the steps are for."""
        if fmt.weights.operand not in ("fp16", "fp32"):
            return
        rounds_others = fmt.activations not in PLAIN or fmt.kv not in PLAIN
        transforms_only = self.chain.model and self.chain == Chain(model=self.chain.model)
        if not (transforms_only and rounds_others):
            raise ValueError(
                f"method '{self.text}' is for the quantized weights of a format, and those of "
                f"{fmt.name} are floats; add --format w4a16"
            )

    def _check_matrices(self, fmt: ServingFormat, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise ValueError for matrices whose codes the chain cannot choose or correct."""
        scheme = _scheme(fmt)
        for shape in shapes:
            if scheme is not None:
                self.chain.check(scheme, shape)
            self.chain.extra_bits(shape)

    def _transformed(self, config: ModelConfig) -> ModelConfig:
        for transform in self.chain.model:
            config = transform.transformed(config)
        return config


def find_chain(text: str) -> Chain:
    """Return the chain that a text names, or raise UserError."""
    with user_errors(ValueError):
        return parse_chain(text)


def linear_shapes(config: ModelConfig) -> list[tuple[int, ...]]:
    """Return rows and columns of the linear layers of one block."""
    shapes = layer_shapes(config)
    members = [name for names in fused_members(config).values() for name in names]
    return [shapes[f"{name}.weight"] for name in members]


def _work(config: ModelConfig, repair: Repair | None) -> OnlineWork:
    online = config.online or Online()
    low_rank = None
    if repair is not None:
        rank, left, right = repair.formats
        low_rank = LowRank(rank=rank, left=_storage(left), right=_storage(right))
    return OnlineWork(
        down=online.down, o=online.o, o_values=online.o_values, qk=online.qk, low_rank=low_rank
    )


def _matrices(shape: ModelShape) -> list[tuple[int, ...]]:
    """Return the shapes of a block's matrices; one square matrix for models that aren't dense."""
    if shape.experts is not None or shape.latent is not None:
        return [(shape.hidden, shape.hidden)]
    return linear_shapes(config_of(shape))


def _storage(scheme: Scheme) -> Storage:
    return Storage(name=scheme.name, scheme=scheme)


def _scheme(fmt: ServingFormat) -> Scheme | None:
    """Return the scheme of most weights; ``None`` for block types that sweeps don't have."""
    if fmt.mix is not None:
        return SCHEMES.get(fmt.mix.base)
    return fmt.weights.scheme


def _numerics(fmt: ServingFormat) -> LayerNumerics:
    """Return how the format rounds the inputs of linear layers."""
    if fmt.activations in PLAIN:
        return LayerNumerics()
    text = KV_NAMES.get(fmt.activations, fmt.activations)
    inputs = parse_scheme(text, role="activation")
    return LayerNumerics(qkv=inputs, o=inputs, gate_up=inputs, down=inputs)
