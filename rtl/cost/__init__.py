"""Area, delay and energy of a netlist, in cells, on FPGAs and in memory macros."""
