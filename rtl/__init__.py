"""Processing elements in Amaranth, made from the format objects: Verilog, verification, cost."""
