"""Linear layers on a tile of PEs: operand codes in, outputs from the PEs' results."""
