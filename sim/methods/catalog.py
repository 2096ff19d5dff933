"""Every step of methods, by name."""

from sim.methods.repairs import Lorc
from sim.methods.rotations import Rotate
from sim.methods.solvers import Clip, Gptq, Rtn
from sim.methods.step import Step

#: Version, incremented when a step chooses other codes; part of every result's key.
VERSION = 2

STEPS: dict[str, type[Step]] = {step.name: step for step in (Rotate, Rtn, Clip, Gptq, Lorc)}
