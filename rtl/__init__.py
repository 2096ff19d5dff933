"""Is it real hardware? Processing elements made from the format objects."""

from typing import TYPE_CHECKING

from numerics.lazy import attach

if TYPE_CHECKING:
    from rtl.catalog import find_pe as find_pe
    from rtl.element import Obligation as Obligation
    from rtl.element import ProcessingElement as ProcessingElement
    from rtl.verification.proof import prove as prove
    from rtl.verification.verify import Verdict as Verdict
    from rtl.verification.verify import verify as verify
    from rtl.verilog.emit import verilog_text as verilog_text
    from rtl.verilog.emit import write_verilog as write_verilog
else:
    __getattr__, __dir__ = attach(__name__, __file__)
