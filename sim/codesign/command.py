"""``qsim codesign`` without its output: options to designs."""

import itertools
from dataclasses import dataclass, replace

from hw.dram import DRAM
from hw.fpga import FPGAS
from numerics.names.suggest import unknown
from roofline.model.model_shape import ModelShape
from sim.codesign.accuracy import find_accuracy
from sim.codesign.accuracy_file import FLOAT, AccuracyRow, AccuracyTable
from sim.codesign.choose import answer, check_feasible, sorted_front
from sim.codesign.design import Change, Design, make_design, one_step
from sim.codesign.grid import Grid, Memory
from sim.codesign.missing import Missing, missing
from sim.codesign.needed import Machines, needed
from sim.codesign.options import CodesignOptions, RunOptions, check_options, check_run
from sim.codesign.pairs import elements, join
from sim.codesign.search import Limits, Outcome, Space, make_space, search
from sim.deployment.model_names import find_shape
from sim.errors import UserError, user_errors

#: KV caches that were measured as float32.
HALF = ("fp16", FLOAT, "none")
#: Options of a command that measures nothing.
NO_RUN = RunOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Codesign:
    """The answer, the front and what they rest on."""

    options: CodesignOptions
    table: AccuracyTable
    space: Space
    limits: Limits
    outcome: Outcome
    #: Designs of the front, by class of accuracy, the cheapest of each first.
    designs: tuple[Design, ...]
    chosen: Design
    changes: tuple[Change, ...]
    missing: tuple[Missing, ...]
    #: Fastest design of the same area and memory with INT8 weights and activations, if any.
    all_int8: Design | None
    seconds: float


def run_codesign(model: str, options: CodesignOptions, running: RunOptions = NO_RUN) -> Codesign:
    """Return the designs of a model within the limits.

    With ``running.run_missing``, accuracy points that could change the front are measured before.

    Raises
    ------
    UserError
        A name is unknown, an axis is empty, or no design keeps the limits.
    """
    import time

    started = time.perf_counter()
    check_options(options)
    check_run(running)
    shape = find_shape(model)
    for name, length in (("context", options.context), *(("prompt", p) for p in options.prompt)):
        if length > shape.max_context:
            raise UserError(
                f"--{name} {length} is more than the {shape.max_context} of {shape.name}"
            )
    limits = Limits(
        tokens_per_s=options.target,
        area=options.area,
        energy_j=options.energy,
        kl_nats=options.kl,
        ttft_s=options.ttft,
    )
    table = find_accuracy(shape.name, options.accuracy, may_lack=running.run_missing)
    if running.run_missing:
        table, options = _completed(model, shape, table, limits, options, running)
    space = space_of(shape, table, options)
    outcome = search(space, limits)
    check_feasible(space, limits, outcome)
    has_energy = options.fpga is None or options.objective != "energy"
    objective = options.objective if has_energy else "speed"
    chosen = make_design(space, answer(space, outcome.front, objective))
    front = sorted_front(space, outcome.front)
    kv = FLOAT if options.kv in HALF else options.kv
    return Codesign(
        options=options,
        table=table,
        space=space,
        limits=limits,
        outcome=outcome,
        designs=tuple(make_design(space, int(number)) for number in front.numbers),
        chosen=chosen,
        changes=tuple(one_step(space, chosen)),
        missing=tuple(missing(table.rows, elements(options.elements), kv)),
        all_int8=_all_int8(space, chosen),
        seconds=time.perf_counter() - started,
    )


def _completed(
    model: str,
    shape: ModelShape,
    table: AccuracyTable,
    limits: Limits,
    options: CodesignOptions,
    running: RunOptions,
) -> tuple[AccuracyTable, CodesignOptions]:
    """Return a table with the missing rows that could change the front, measured.

    The options returned have no formats that cannot change it.
    """
    # JAX, which measures, takes a second to import.
    from sim.codesign.run_missing import measure, open_sample

    records, kv = elements(options.elements), FLOAT if options.kv in HALF else options.kv
    points = [
        point
        for point in missing(table.rows, records, kv)
        if not options.formats or point.weights in options.formats
    ]
    wanted = [row for row in _rows_of(table, kv) if _is_wanted(row, options)]
    machines = Machines(
        shape=shape, grid=grid_of(options), context=options.context, prompts=options.prompt
    )
    pairs = join(wanted, records)
    measured = machines.space(pairs) if pairs else None
    found = needed(points, table.rows, measured, machines, limits)
    table = measure(table, found, open_sample(table, model, running), running)
    names = {row.weights for row in table.rows}
    useless = {point.weights for point in points} - names
    kept = tuple(name for name in options.formats if name not in useless)
    return table, replace(options, formats=kept or options.formats)


def space_of(shape: ModelShape, table: AccuracyTable, options: CodesignOptions) -> Space:
    """Return all designs that the options allow."""
    rows = chosen_rows(table, options)
    pairs = join(rows, elements(options.elements))
    if not pairs:
        raise UserError(
            f"no PE of {', '.join(options.elements) or 'the catalog'} reads a format that was"
            f" measured; 'qsim rtl' lists the formats of each PE"
        )
    grid = grid_of(options)
    return make_space(shape, pairs, grid, context=options.context, prompts=options.prompt)


def chosen_rows(table: AccuracyTable, options: CodesignOptions) -> list[AccuracyRow]:
    """Return the rows of an accuracy table with the formats of the options."""
    kv = FLOAT if options.kv in HALF else options.kv
    rows = _rows_of(table, kv)
    if not rows:
        known = sorted({"fp16" if row.kv == FLOAT else row.kv for row in table.rows})
        raise UserError(
            f"--kv {options.kv} was not measured of {table.model}; measured are {', '.join(known)}"
        )
    names = {row.weights for row in rows}
    for name in options.formats:
        if name not in names and name not in HALF:
            raise UserError(unknown("format", name, names, see="qsim formats"))
    return [row for row in rows if _is_wanted(row, options)]


def _rows_of(table: AccuracyTable, kv: str) -> list[AccuracyRow]:
    return [row for row in table.rows if row.kv == kv and row.head == FLOAT]


def _is_wanted(row: AccuracyRow, options: CodesignOptions) -> bool:
    wanted = {FLOAT if name in HALF else name for name in options.formats}
    return not wanted or row.weights in wanted


def grid_of(options: CodesignOptions) -> Grid:
    """Return the machines of the options."""
    with user_errors(ValueError):
        for kind in options.memory:
            if kind not in DRAM:
                raise ValueError(unknown("memory", kind, DRAM))
        if options.fpga is not None and options.fpga not in FPGAS:
            raise ValueError(unknown("FPGA", options.fpga, FPGAS))
    return Grid(
        rows=tuple(sorted(options.rows)),
        columns=tuple(sorted(options.columns)),
        memories=tuple(
            Memory(kind=kind, gb_per_s=rate)
            for kind, rate in itertools.product(options.memory, sorted(options.bandwidth))
        ),
        clocks_mhz=tuple(sorted(options.clock)),
        weight_buffers_kib=tuple(sorted(options.weight_buffer)),
        fpga=FPGAS[options.fpga] if options.fpga else None,
    )


def _all_int8(space: Space, chosen: Design) -> Design | None:
    """Return the fastest design with INT8 operands, the chosen area at most, and its memory."""
    pairs = [p for p in space.pairs if p.weights.startswith("int8") and p.activations == "int8"]
    if not pairs:
        return None
    grid = replace(space.grid, memories=chosen.grid.memories)
    own = make_space(space.shape, pairs, grid, context=space.context)
    front = search(own, Limits(area=chosen.area)).front
    if not len(front.numbers):
        return None
    return make_design(own, int(front.numbers[front.points[:, 3].argmin()]))
