"""How long and how much energy? Operators of a model, bounds and throughput."""
