"""Processing elements: a circuit between two streams, and the golden model that it has to equal.

Both streams are valid/ready handshakes with the semantics of :mod:`amaranth.lib.stream`: a payload
is transferred at a rising edge of ``clk`` at which ``valid`` and ``ready`` are asserted. All
circuits of :mod:`rtl` follow one protocol:

- ``operands`` transfers a beat: the codes of the PE's :attr:`~ProcessingElement.fields`, and
  ``last``, which ends a group. A beat is held until the last of its ``cycles``, in which ``ready``
  is asserted.
- ``result`` is registered. It becomes valid ``latency`` cycles after the last beat of a group was
  transferred, and holds until it is transferred.
- Back-pressure: while a result is pending, the beats of the next groups are accepted as far as the
  pipeline has room; a beat that ends a group stalls.
- ``rst`` is synchronous. It discards the group in flight and any pending result.

Emission, verification, layers and costs depend on nothing else of a PE.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from amaranth.hdl import Fragment, Shape
from amaranth.lib import data, wiring

from numerics.formats import Format
from rtl.fields import Field, Operands

if TYPE_CHECKING:
    from numerics.pe.rounding import RoundingPe
    from rtl.layer.layer import Layer

#: Default length of the longest group, in values; exact accumulators are wide enough for it.
LENGTH = 128
#: One random seed in ``LONG_SEEDS`` produces groups of ``LONG_BEATS`` beats.
LONG_BEATS, LONG_SEEDS = 8, 32
#: Seed of random groups of three beats.
SHORT_SEED = 2
#: Default number of beats of typical groups.
TYPICAL_BEATS = 40

#: Time of a PE's proofs: below three seconds, seconds, or up to minutes.
ProofCost = Literal["quick", "seconds", "minutes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """A combinational circuit and the reference that it has to equal for every input."""

    what: str
    circuit: Callable[[], wiring.Component]
    #: Constructor of the reference, a circuit with the same ports.
    reference: Callable[[], wiring.Component]
    #: Total width in bits of all inputs.
    input_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingElement(ABC):
    """A PE by name; a subclass is a family, with ``layer`` the module that runs layers on it."""

    name: str
    #: Paper or specification of its arithmetic.
    source: str
    #: MACs per beat.
    lanes: int = 1
    #: Largest number of values of a group.
    length: int = LENGTH
    proof_cost: ProofCost = "quick"

    #: Fields of a beat that hold weights and activations.
    weight_field: ClassVar[str] = "weights"
    activation_field: ClassVar[str] = "activations"
    _layer_module: ClassVar[str] = ""

    def __init_subclass__(cls, *, layer: str | None = None, **more: Any) -> None:
        """Name the module whose function ``layer`` runs layers on the family."""
        # The argument stands in super() because slots make a dataclass anew.
        super(ProcessingElement, cls).__init_subclass__(**more)
        if layer is not None:
            cls._layer_module = layer

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The fields of a beat without ``last``, in the order in which operands are drawn."""

    @property
    @abstractmethod
    def result_meaning(self) -> str:
        """Meaning of a result, and its unit."""

    @property
    def last_meaning(self) -> str:
        """Meaning of ``last``: whether it ends a group, a channel or another unit of work."""
        return "1 in the last beat of a group"

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Lines for the head comment of the Verilog: the computation, its sizes and units."""

    @property
    def nearest_sweep(self) -> str:
        """How a sweep without ``--pe`` compares to a PE with exact sums; empty if sums round."""
        return ""

    @property
    def rounding_model(self) -> "RoundingPe | None":
        """Model of a PE whose sums round, for sweeps; ``None`` if they are exact."""
        return None

    def field(self, name: str) -> Field:
        """Return a field by its name."""
        return next(field for field in self.fields if field.name == name)

    @property
    def weight_name(self) -> str:
        """Short name of the weights."""
        return self.field(self.weight_field).label

    @property
    def activation_name(self) -> str:
        """Short name of the activations."""
        return self.field(self.activation_field).label

    @property
    def meanings(self) -> dict[str, Format | str]:
        """Meaning of every field of a beat, and of the ``result``: a format, or words."""
        found = {field.name: field.meaning for field in self.fields}
        return {**found, "last": self.last_meaning, "result": self.result_meaning}

    @property
    def cycles(self) -> int:
        """Cycles of a beat."""
        return 1

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last beat to the first one with a valid result."""
        return 1

    @property
    def inputs(self) -> int:
        """Inputs of a linear layer (values along the reduction axis) per beat."""
        return self.lanes

    @property
    def dots_per_result(self) -> int:
        """Number of dot products that a random result holds or adds up."""
        return 1

    @property
    def numbers_per_result(self) -> int:
        """Number of integers in a result; together they may be wider than 64 bits."""
        return 1

    @property
    def operand_layout(self) -> data.StructLayout:
        """Layout of a beat, with ``last``."""
        return _interface(self)[0]

    @property
    def result_shape(self) -> Shape:
        """Width and sign of a result."""
        return _interface(self)[1]

    @property
    def number_shape(self) -> Shape:
        """Width and sign of one number of a result."""
        return self.result_shape

    def with_formats(self, formats: Mapping[str, Format]) -> Self:
        """Return the PE with other formats of ``weights`` or ``activations``, named after them.

        Raises
        ------
        ValueError
            The family has fixed formats.
        """
        raise ValueError(
            f"the formats of {self.name} are fixed, {self.weight_name} x {self.activation_name};"
            " those of exact dot products, such as int8-mac, can be chosen"
        )

    @abstractmethod
    def build(self) -> wiring.Component:
        """Return a new component with the two streams."""

    @abstractmethod
    def golden(self, operands: Operands) -> np.ndarray:
        """Return the result of every group as int64, by the model of :mod:`numerics.pe`.

        Its shape is (groups,), or (groups, numbers) if a result has several numbers.
        """

    @abstractmethod
    def obligations(self) -> tuple[Obligation, ...]:
        """Return its combinational parts, each with a reference to prove it against."""

    def layer(
        self, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
    ) -> "Layer":
        """Return a linear layer, (outputs, inputs) at (tokens, inputs), for ``tile`` PEs.

        ``None`` stands for the default lanes and tile.

        Raises
        ------
        ValueError
            The PE does not run such a layer.
        """
        if not self._layer_module:
            raise ValueError("its family has no module for layers")
        made: Layer = import_module(self._layer_module).layer(
            self, weight, x, lanes=lanes, tile=tile
        )
        return made

    def every_input(self) -> "tuple[ProcessingElement, Operands] | None":
        """Return every input of one lane, as groups of one beat; ``None`` if there are too many."""
        return None

    @property
    def longest_beats(self) -> int:
        """Beats of the longest groups."""
        return self.length // self.inputs

    @property
    def typical_beats(self) -> int:
        """Beats of typical groups."""
        return TYPICAL_BEATS

    def random_beats(self, seed: int) -> int:
        """Return the beats of random groups."""
        return few_beats(seed)

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of random codes."""
        random, drawn = np.random.default_rng(seed), Operands()
        for field in self.fields:
            shape = groups, self.random_beats(seed), field.lanes
            drawn[field.name] = field.random(random, shape, drawn)
        return drawn

    def corners(self) -> Operands:
        """Return the longest groups of extreme codes, in every combination over the fields."""
        extremes = np.meshgrid(*(field.corners for field in self.fields), indexing="ij")
        shape = extremes[0].size, self.longest_beats
        return {
            field.name: np.broadcast_to(codes.reshape(-1, 1, 1), (*shape, field.lanes))
            for field, codes in zip(self.fields, extremes, strict=True)
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return groups of Gaussian operands, most with the spread of a real layer, for energy."""
        random, drawn = np.random.default_rng(seed), Operands()
        for field in self.fields:
            shape = groups, self.typical_beats, field.lanes
            drawn[field.name] = field.typical(random, shape, drawn)
        return drawn

    def independent(self, groups: int) -> Operands:
        """Return random groups of a few beats whose results do not depend on earlier groups."""
        return self.random(groups, seed=SHORT_SEED)


@cache
def _interface(pe: ProcessingElement) -> tuple[data.StructLayout, Shape]:
    """Return the shapes of a PE's two payloads."""
    component = pe.build()
    # Amaranth warns of components that are never elaborated.
    Fragment.get(component, platform=None)
    layout = component.operands.payload.shape()
    assert isinstance(layout, data.StructLayout)
    return layout, Shape.cast(component.result.payload.shape())


def few_beats(seed: int) -> int:
    """Return the beats of random groups: one for most seeds, 1.5 on average.

    Short groups test products and scales fastest; a few longer ones test accumulation. The largest
    sums are among the corners.

    >>> [few_beats(seed) for seed in (0, 1, 2, 3, 4, 9, 18, 32)]
    [8, 2, 3, 1, 1, 2, 3, 8]
    >>> sum(map(few_beats, range(LONG_SEEDS))) / LONG_SEEDS
    1.46875
    """
    if seed % LONG_SEEDS == 0:
        return LONG_BEATS
    if seed % 16 == 2:
        return 3
    return 2 if seed % 8 == 1 else 1
