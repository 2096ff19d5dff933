"""Data of the page of ``qsim codesign``: designs, cloud, win map, bars at equal area."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from roofline.accelerator.gemm import Gemm, GemmCost
from sim.codesign.choose import shown
from sim.codesign.columns import columns_of
from sim.codesign.command import Codesign
from sim.codesign.design import Design
from sim.codesign.grid import evaluate
from sim.codesign.search import Space

#: Designs of the front with all details, at most; significant digits of numbers.
MOST_DESIGNS, DIGITS = 300, 4
#: Area budgets of the win map.
BUDGETS = 10


def page_data(found: Codesign) -> dict[str, Any]:
    """Return the data of the page as plain data."""
    numbers = shown(found.outcome.front, MOST_DESIGNS, always=[found.chosen.number])
    place = {number: index for index, number in enumerate(numbers)}
    designs = [design for design in found.designs if design.number in place]
    areas = [design.area for design in found.designs]
    budgets = np.geomspace(min(areas) * 1.01, max(max(areas), min(areas) * 2), BUDGETS)
    space = found.space
    data = {
        "columns": [
            {"name": c.name, "title": c.title, "unit": c.unit, "kind": c.kind, "meaning": c.meaning}
            for c in columns_of(space.grid.fpga, space.prompts)
        ],
        "unit": space.grid.area_unit,
        "area": "kluts" if space.grid.fpga else "area_mm2",
        "answer": found.chosen.number,
        "limits": dict(found.limits.given),
        "designs": [_design(design) for design in designs],
        "cloud": _cloud(found),
        "pairs": [
            {"name": pair.name, "weights": pair.weights, "pe": pair.record.name,
             "kl": pair.accuracy.kl_nats, "se": pair.accuracy.kl_se}
            for pair in space.pairs
        ],
        "memories": [f"{m.gb_per_s:g} GB/s {m.kind}" for m in space.grid.memories],
        "budgets": budgets.tolist(),
        "best": best_by_budget(space, budgets).tolist(),
        "equal": _equal_area(found),
    }  # fmt: skip
    cut: dict[str, Any] = rounded(data)
    return cut


def _design(design: Design) -> dict[str, Any]:
    """Return all values of a design, its parts, and its products."""
    columns = columns_of(design.grid.fpga, design.ttft_s)
    return {
        "number": design.number,
        "values": {column.name: column.value(design) for column in columns},
        "texts": {column.name: column.text(design) for column in columns},
        "area": design.areas,
        "energy": {} if design.grid.fpga else design.energy_parts_j,
        "products": list(_products(design)),
        "roofs": {
            "macs_per_s": design.pair.record.macs_per_cycle
            * design.grid.rows[0] * design.grid.columns[0] * design.grid.clocks_mhz[0] * 1e6,
            "bytes_per_s": design.gb_per_s * 1e9,
            "reached": design.machine.memory_efficiency,
        },
    }  # fmt: skip


def _products(design: Design) -> Iterator[dict[str, Any]]:
    clock_hz = design.step.clock_hz
    merged: dict[str, list[tuple[Gemm, GemmCost]]] = {}
    for gemm, cost in design.step.products:
        merged.setdefault(gemm.name, []).append((gemm, cost))
    for name, parts in merged.items():
        yield {
            "name": name,
            "time_s": sum(cost.cycles for _, cost in parts) / clock_hz,
            "macs": sum(gemm.macs for gemm, _ in parts),
            "bytes": sum(cost.traffic_bytes for _, cost in parts),
            "limit": "processor" if parts[0][0].on_host else parts[0][1].limiter,
            "utilization": parts[0][1].utilization,
        }


def _cloud(found: Codesign) -> list[list[float]]:
    """Return class, mm2, J and tokens/s of a sample of designs that keep the limits of accuracy."""
    return [
        [int(accuracy), area, energy, 1 / time]
        for accuracy, area, energy, time in found.outcome.cloud.points[:, :4].tolist()
    ]


def best_by_budget(space: Space, budgets: np.ndarray) -> np.ndarray:
    """Return tokens/s and J of each pair's fastest design within area budgets.

    The shape is (memories, budgets, pairs, 2); 0 tokens/s where no design fits.
    """
    found = np.zeros((len(space.grid.memories), len(budgets), len(space.pairs), 2))
    memories = {memory: index for index, memory in enumerate(space.grid.memories)}
    for place, (pair, work) in enumerate(zip(space.pairs, space.works, strict=True)):
        for _, grid in space.grid.blocks():
            designs = evaluate(grid, pair, work)
            for index, memory in enumerate(grid.memories):
                part = (slice(None), slice(None), slice(None), index)
                speed = np.where(designs.is_valid[part], 1 / designs.time_s[part], 0.0).ravel()
                area, energy = designs.area[part].ravel(), designs.energy_j[part].ravel()
                for budget, most in enumerate(budgets):
                    fitting = np.where(area <= most, speed, 0.0)
                    best = int(fitting.argmax())
                    row = found[memories[memory], budget, place]
                    if fitting[best] > row[0]:
                        row[:] = fitting[best], energy[best]
    return found


def _equal_area(found: Codesign) -> list[dict[str, Any]]:
    """Return the best pair of each weight format with the area and the memory of the answer."""
    chosen, space = found.chosen, found.space
    best = best_by_budget(space, np.array([chosen.area * (1 + 1e-9)]))
    memory = space.grid.memories.index(chosen.grid.memories[0])
    rows: dict[str, dict[str, Any]] = {}
    for pair, (speed, energy) in zip(space.pairs, best[memory, 0].tolist(), strict=True):
        if speed and speed > rows.get(pair.weights, {"speed": 0.0})["speed"]:
            rows[pair.weights] = {
                "weights": pair.weights,
                "pe": pair.record.name,
                "speed": speed,
                "energy": energy,
                "kl": pair.accuracy.kl_nats,
                "density": pair.record.macs_per_cycle / pair.record.area_um2 * 1e6,
            }
    return sorted(rows.values(), key=lambda row: row["kl"])


def rounded(value: Any) -> Any:
    """Return nested data with floats cut to a few digits, which keeps the page small."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [rounded(item) for item in value]
    return value
