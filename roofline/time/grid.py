"""Many predictions at once: models x machines x formats x batches x contexts as one table.

The formulas are those of :func:`roofline.time.predict.predict_step`, whose amounts may be arrays:
machines, batches and contexts are axes of arrays; models and formats are loops.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hw.machine import Machine
from roofline.model.model_shape import ModelShape
from roofline.runtime.activations import as_run
from roofline.runtime.engine import engine_for
from roofline.runtime.serving_format import ServingFormat
from roofline.time.operator_time import operator_times
from roofline.time.overheads import Overheads
from roofline.time.predict import options_of
from roofline.time.rates import Estimate, Rates, rates_of
from roofline.workload.memory import kv_bytes_per_sequence, largest_activations, weight_bytes
from roofline.workload.operator import ROLES, OperatorRole
from roofline.workload.operators import operators
from roofline.workload.setup import Setup
from roofline.workload.step import Options, Sequences

if TYPE_CHECKING:
    import pandas as pd

_Record = TypeVar("_Record", Rates, Overheads)
#: Axes of every array, outermost first.
AXES = ("model", "format", "machine", "batch", "context")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Models, formats, machines, batches and contexts to combine."""

    models: Sequence[ModelShape]
    formats: Sequence[ServingFormat]
    machines: Sequence[Machine]
    batches: Sequence[int]
    contexts: Sequence[int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        axes = (self.models, self.formats, self.machines, self.batches, self.contexts)
        return tuple(map(len, axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class GridTimes:
    """Times and memory over :data:`AXES`; a context is the prompt of prefill, the cache of decode.

    Memory counts weights, KV cache and the largest activations of a prompt in one step.
    """

    grid: Grid
    prefill_s: np.ndarray
    tpot_s: np.ndarray
    memory_bytes: np.ndarray
    fits: np.ndarray

    def table(self) -> "pd.DataFrame":
        """Return one row for each combination, as a pandas table."""
        import pandas as pd

        grid = self.grid
        names: tuple[list[Any], ...] = (
            [shape.name for shape in grid.models],
            [fmt.name for fmt in grid.formats],
            [machine.name for machine in grid.machines],
            list(grid.batches),
            list(grid.contexts),
        )
        places: Any = np.indices(grid.shape).reshape(len(AXES), -1)
        columns: dict[str, Any] = {}
        for axis, place, values in zip(AXES, places, names, strict=True):
            is_name = axis in ("model", "format", "machine")
            columns[axis] = (
                pd.Categorical.from_codes(place, pd.Index(values))
                if is_name
                else np.asarray(values)[place]
            )
        for name in ("prefill_s", "tpot_s", "memory_bytes", "fits"):
            columns[name] = getattr(self, name).reshape(-1)
        return pd.DataFrame(columns)


def evaluate(grid: Grid, estimate: Estimate = "expected") -> GridTimes:
    """Return the times of every combination of a grid.

    Examples
    --------
    >>> from hw.machine import load_machine
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> machines = [load_machine("l4"), load_machine("h100-sxm")]
    >>> formats = [parse_format("fp16"), parse_format("w4a16")]
    >>> grid = Grid(models=[load_model("llama-2-7b")], formats=formats, machines=machines,
    ...             batches=[1, 8], contexts=[512, 2048])
    >>> times = evaluate(grid)
    >>> times.tpot_s.shape, bool(times.tpot_s[0, 1, 1, 0, 0] < times.tpot_s[0, 0, 0, 0, 0])
    ((1, 2, 2, 2, 2), True)
    """
    for name in ("batches", "contexts"):
        if min(getattr(grid, name), default=0) < 1:
            raise ValueError(
                f"{name} of a grid are {list(getattr(grid, name))}; each is at least 1"
            )
    prefill, decode = np.empty(grid.shape), np.empty(grid.shape)
    memory = np.empty(grid.shape)
    batches = np.asarray(grid.batches, float)[:, None]
    contexts = np.asarray(grid.contexts, float)[None, :]
    on_chip = _column([_on_chip_bytes(machine, estimate) for machine in grid.machines])
    for i, shape in enumerate(grid.models):
        kept = np.array([kv_bytes_per_sequence(shape, grid.formats[0], c) for c in grid.contexts])
        base = grid.formats[0].kv_bytes(shape)
        for j, fmt in enumerate(grid.formats):
            cache = kept / base * fmt.kv_bytes(shape)
            held = weight_bytes(shape, fmt) + batches * cache
            for run, rows in _rows_by_format(fmt, grid.machines).items():
                rates = _rates(shape, run, [grid.machines[row] for row in rows], estimate)
                for out, step in (
                    (decode, [Sequences(batch=batches, new=1, context=contexts)]),
                    (prefill, [Sequences(batch=batches, new=contexts)]),
                ):
                    options = options_of(estimate, Options())
                    found = operators(
                        shape, run, step, options=options, on_chip_bytes=on_chip[rows]
                    )
                    times = operator_times(found, rates)
                    out[i, j, rows] = np.asarray(sum(one.time_s for one in times))
                memory[i, j, rows] = held + largest_activations(found)
    capacity = _column([machine.capacity_bytes for machine in grid.machines])
    return GridTimes(
        grid=grid, prefill_s=prefill, tpot_s=decode, memory_bytes=memory, fits=memory <= capacity
    )


def _rows_by_format(
    fmt: ServingFormat, machines: Sequence[Machine]
) -> dict[ServingFormat, list[int]]:
    """Return the machines' numbers by the format that runs on them, which may name activations."""
    found: dict[ServingFormat, list[int]] = {}
    for row, machine in enumerate(machines):
        found.setdefault(as_run(fmt, machine, engine_for(fmt)), []).append(row)
    return found


def _rates(
    shape: ModelShape, fmt: ServingFormat, machines: Sequence[Machine], estimate: Estimate
) -> dict[OperatorRole, Rates]:
    """Return the rates of all machines as columns, which broadcast over batches and contexts."""
    setups = [Setup(shape=shape, format=fmt, machine=machine) for machine in machines]
    stacked: dict[OperatorRole, Rates] = {}
    for role in ROLES:
        each = [rates_of(setup, role, estimate) for setup in setups]
        stacked[role] = _stacked(each)
    return stacked


def _stacked(records: Sequence[_Record]) -> _Record:
    """Return a record of columns, each with one number of every given record."""
    first = records[0]
    columns: dict[str, Any] = {}
    for one in fields(first):
        values = [getattr(record, one.name) for record in records]
        columns[one.name] = _stacked(values) if is_dataclass(values[0]) else _column(values)
    return replace(first, **columns)


def _column(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values)[:, None, None]


def _on_chip_bytes(machine: Machine, estimate: Estimate) -> float:
    if machine.on_chip_kb is None or estimate == "bound":
        return float("inf")
    return machine.on_chip_kb.value * 1e3
