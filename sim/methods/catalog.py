"""Every step of methods, by name."""

from sim.methods.fpq import Fpq
from sim.methods.learned import Let, Lwc
from sim.methods.pre_shift import PreShift
from sim.methods.repairs import Lorc
from sim.methods.rotations import Rotate
from sim.methods.scales import Aqas, Awq, SmoothQuant
from sim.methods.solvers import Clip, Gptq, Rtn
from sim.methods.spinquant import SpinQuant
from sim.methods.step import Step

#: Version, incremented when a step chooses other codes; part of every result's key.
VERSION = 8

#: In the order of a chain: transforms of the model, of blocks, solvers, repairs.
_STEPS: tuple[type[Step], ...] = (
    Rotate,
    SpinQuant,
    Awq,
    SmoothQuant,
    Aqas,
    PreShift,
    Let,
    Rtn,
    Clip,
    Lwc,
    Fpq,
    Gptq,
    Lorc,
)

STEPS: dict[str, type[Step]] = {step.name: step for step in _STEPS}
