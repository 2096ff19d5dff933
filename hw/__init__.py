"""Hardware: the catalog of CPUs, GPUs, NPUs and accelerators, and cost records of PEs."""

from typing import TYPE_CHECKING

from numerics.lazy import attach

if TYPE_CHECKING:
    from hw.accelerator import Accelerator as Accelerator
    from hw.accelerator import load_accelerator as load_accelerator
    from hw.accelerator import read_accelerator as read_accelerator
    from hw.machine import Machine as Machine
    from hw.machine import list_machines as list_machines
    from hw.machine import load_machine as load_machine
    from hw.machine import read_machine as read_machine
    from hw.pe_record import PeRecord as PeRecord
    from hw.pe_record import load_record as load_record
    from hw.toml_reader import Sourced as Sourced
else:
    __getattr__, __dir__ = attach(__name__, __file__)
