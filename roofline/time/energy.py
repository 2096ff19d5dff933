"""Energy of a step, bottom up: arithmetic, on-chip and off-chip memory, and static power.

Sources differ by more than formats do, so each component is a range. Energies of arithmetic are of
Horowitz, ISSCC 2014 (45 nm, 0.9 V), scaled to a machine's node by Stillmaker and Baas, Integration
58, 2017; the energy of a bit of DRAM traffic is in :mod:`hw.dram`.
"""

from dataclasses import dataclass, fields

from hw.machine import Machine
from hw.sram import access_energy_pj_per_byte
from hw.technology import node_factor
from roofline.time.predict import StepTime
from roofline.time.rates import path_of
from roofline.workload.operator import Operator, role_of
from roofline.workload.setup import Setup

#: Energy of one multiply-add into a wider accumulator at 45 nm, in pJ, by operand type.
MAC_ENERGY_PJ = {"int4": 0.15, "fp4": 0.2, "int8": 0.30, "fp8": 0.7, "fp16": 1.5, "fp32": 4.6}
#: Energy of one FP32 vector operation at 45 nm, in pJ.
VECTOR_ENERGY_PJ = 0.9
#: On-chip memory and technology node of machines whose files have none.
DEFAULT_ON_CHIP_BYTES = 8e6
DEFAULT_NODE_NM = 7.0
#: Low and high over nominal energy of arithmetic and of on-chip memory.
ARITHMETIC_RANGE = (0.5, 2.0)
#: Idle power over the power limit (low, nominal, high), where the idle power is unknown.
IDLE_SHARE = (0.10, 0.15, 0.20)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRange:
    """An energy in joules: low, nominal and high."""

    low_j: float
    nominal_j: float
    high_j: float

    def __add__(self, other: "EnergyRange") -> "EnergyRange":
        return EnergyRange(
            low_j=self.low_j + other.low_j,
            nominal_j=self.nominal_j + other.nominal_j,
            high_j=self.high_j + other.high_j,
        )

    def scaled(self, factor: float) -> "EnergyRange":
        """Return the energy times ``factor``."""
        return EnergyRange(
            low_j=self.low_j * factor,
            nominal_j=self.nominal_j * factor,
            high_j=self.high_j * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnergy:
    """Energy of one step by component, of all machines together."""

    compute: EnergyRange
    on_chip: EnergyRange
    weights_off_chip: EnergyRange
    kv_off_chip: EnergyRange
    activations_off_chip: EnergyRange
    static: EnergyRange
    #: Power limit of all machines times the time of the step; None if the limit is unknown.
    limit_j: float | None

    @property
    def parts(self) -> dict[str, EnergyRange]:
        """Energy of every component by its name."""
        return {
            "compute": self.compute,
            "on-chip memory": self.on_chip,
            "weights from memory": self.weights_off_chip,
            "KV cache from memory": self.kv_off_chip,
            "activations from memory": self.activations_off_chip,
            "static": self.static,
        }

    def scaled(self, factor: float) -> "StepEnergy":
        """Return the energy times ``factor``."""
        values = {name: getattr(self, name).scaled(factor) for name in PARTS}
        return StepEnergy(**values, limit_j=None if self.limit_j is None else factor * self.limit_j)

    def __add__(self, other: "StepEnergy") -> "StepEnergy":
        values = {name: getattr(self, name) + getattr(other, name) for name in PARTS}
        limits = [one.limit_j for one in (self, other) if one.limit_j is not None]
        return StepEnergy(**values, limit_j=sum(limits) if len(limits) == 2 else None)

    @property
    def total(self) -> EnergyRange:
        """Sum of all components."""
        zero = EnergyRange(low_j=0.0, nominal_j=0.0, high_j=0.0)
        return sum(self.parts.values(), start=zero)

    @property
    def exceeds_limit(self) -> bool:
        """Whether the nominal energy is more than the power limit allows in that time."""
        return self.limit_j is not None and self.total.nominal_j > self.limit_j


PARTS = tuple(one.name for one in fields(StepEnergy) if one.name != "limit_j")


def step_energy(setup: Setup, step: StepTime) -> StepEnergy:
    """Return the energy of a step whose amounts are single numbers, on all machines together."""
    machine = setup.machine
    # Machines that share experts have different sequences; the step has those of one machine.
    alike = setup.machines if setup.parallel == "expert" else 1
    scale = node_factor(machine.process_nm.value if machine.process_nm else DEFAULT_NODE_NM)
    found = [timed.operator for timed in step.operators]
    compute = alike * sum(_compute_pj(setup, timed.operator) for timed in step.operators)
    size = machine.on_chip_kb.value * 1e3 if machine.on_chip_kb else DEFAULT_ON_CHIP_BYTES
    weights, kv, activations = (
        alike * sum(float(getattr(op, name)) for op in found)
        for name in ("weight_bytes", "kv_bytes", "activation_bytes")
    )
    on_chip = access_energy_pj_per_byte(size) * (weights + kv + activations)
    seconds = float(step.time_s)
    limit = machine.tdp_w.value * setup.machines * seconds if machine.tdp_w else None
    return StepEnergy(
        compute=_arithmetic(compute * scale),
        on_chip=_arithmetic(on_chip * scale),
        weights_off_chip=_dram(machine, weights),
        kv_off_chip=_dram(machine, kv),
        activations_off_chip=_dram(machine, activations),
        static=_static(machine, setup.machines * seconds),
        limit_j=limit,
    )


def _compute_pj(setup: Setup, operator: Operator) -> float:
    path = path_of(setup, role_of(operator))
    rest = float(operator.vector_ops + path.dequantize_ops * operator.weights)
    return float(operator.ops) / 2 * MAC_ENERGY_PJ[path.operand] + rest * VECTOR_ENERGY_PJ


def _arithmetic(energy_pj: float) -> EnergyRange:
    low, high = ARITHMETIC_RANGE
    joules = energy_pj * 1e-12
    return EnergyRange(low_j=low * joules, nominal_j=joules, high_j=high * joules)


def _dram(machine: Machine, traffic_bytes: float) -> EnergyRange:
    low, nominal, high = (pj * 1e-12 for pj in machine.dram_energy.energy_pj(traffic_bytes))
    return EnergyRange(low_j=low, nominal_j=nominal, high_j=high)


def _static(machine: Machine, machine_seconds: float) -> EnergyRange:
    if machine.idle_w is not None:
        joules = machine.idle_w.value * machine_seconds
        return EnergyRange(low_j=joules, nominal_j=joules, high_j=joules)
    limit_w = machine.tdp_w.value if machine.tdp_w else 0.0
    low, nominal, high = (share * limit_w * machine_seconds for share in IDLE_SHARE)
    return EnergyRange(low_j=low, nominal_j=nominal, high_j=high)
