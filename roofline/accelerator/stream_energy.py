"""Energy of a product on a machine that follows the weight stream.

Every PE takes its energy in the cycles with beats and that of its clock in all others. Weights pass
their FIFO once; activations are written to their buffer once and read once for each tile of
outputs, since all rows share them; a group's sum is scaled once for each output and token. All
amounts may be NumPy arrays, which broadcast.
"""

from dataclasses import dataclass

import numpy as np

from roofline.accelerator.stream import Amount, Geometry, Product, Schedule, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRates:
    """Energies of the parts of a machine in pJ."""

    #: One PE in a cycle with a beat, and in a cycle without.
    pe_pj: Amount
    idle_pj: Amount
    #: Scaling of one group's sum; 0 where the PEs do it.
    scaler_pj: Amount = 0.0
    #: One byte written to or read from the FIFO of weights and the buffer of activations.
    weights_pj_per_byte: Amount
    activations_pj_per_byte: Amount
    #: One byte between memory and chip.
    dram_pj_per_byte: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy of one product in pJ, by part."""

    pes_pj: Amount
    buffers_pj: Amount
    dram_pj: Amount


def product_energy(
    product: Product, geometry: Geometry, found: Schedule, rates: EnergyRates
) -> Energy:
    """Return the energy of a product with its schedule.

    Examples
    --------
    16 PEs with 36 beats for each of 36 tiles; idle cycles are free here.

    >>> from roofline.accelerator.stream import schedule
    >>> product = Product(tokens=1, inputs=576, outputs=576, code_bits=8, activation_bits=8)
    >>> machine = Geometry(rows=16, lanes=16, bytes_per_cycle=256)
    >>> rates = EnergyRates(pe_pj=2.0, idle_pj=0.0, weights_pj_per_byte=1.0,
    ...     activations_pj_per_byte=1.0, dram_pj_per_byte=10.0)
    >>> energy = product_energy(product, machine, schedule(product, machine), rates)
    >>> float(energy.pes_pj), float(energy.buffers_pj)
    (41472.0, 684864.0)
    """
    pes = geometry.rows * geometry.columns
    length = np.where(np.asarray(product.group) == 0, product.inputs, product.group)
    groups = ceil_div(product.inputs, length) * product.outputs * product.tokens
    inputs = product.tokens * product.inputs * product.activation_bits / 8
    weights = found.read_bytes - inputs
    tiles = ceil_div(product.outputs, geometry.rows)
    return Energy(
        pes_pj=pes * (found.busy_cycles * rates.pe_pj)
        + pes * (found.cycles - found.busy_cycles) * rates.idle_pj
        + groups * rates.scaler_pj,
        buffers_pj=2 * weights * rates.weights_pj_per_byte
        + (1 + tiles) * inputs * rates.activations_pj_per_byte,
        dram_pj=(found.read_bytes + found.written_bytes) * rates.dram_pj_per_byte,
    )
