"""Energy of logic at one technology node relative to another.

Stillmaker and Baas, Integration 58, 2017, with the general-purpose (HP) rows and the voltage usual
for each node. Memories and wires scale less.
"""

from math import log

#: Energy relative to 45 nm at 0.9 V.
NODE_FACTORS = {
    65: 2.405,
    45: 1.0,
    32: 0.654,
    20: 0.287,
    16: 0.172,
    14: 0.138,
    10: 0.100,
    7: 0.0684,
}


def node_factor(node_nm: float) -> float:
    """Return energy relative to 45 nm; between listed nodes the logarithms are interpolated.

    28 nm is not in the paper, and nodes below 7 nm follow the line through the two smallest.

    >>> round(node_factor(28), 3), node_factor(7), node_factor(4) < node_factor(7)
    (0.518, 0.0684, True)
    """
    if node_nm <= 0:
        raise ValueError(f"a node of {node_nm:g} nm; the size is more than 0")
    nodes = sorted(NODE_FACTORS)
    upper = next((i for i, node in enumerate(nodes) if node >= node_nm and i > 0), 1)
    if node_nm > nodes[-1]:
        upper = len(nodes) - 1
    low, high = nodes[upper - 1], nodes[upper]
    share = log(node_nm / low) / log(high / low)
    return float(NODE_FACTORS[low] * (NODE_FACTORS[high] / NODE_FACTORS[low]) ** share)
