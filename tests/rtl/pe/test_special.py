"""Special values that come with beats: their model, circuits and proof."""

import numpy as np
import pytest

from numerics import FORMATS, SCHEMES
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import AlignedDot
from numerics.pe.aligned_dots import aligned_dots
from numerics.pe.special import SpecialDot, WindowFormat
from numerics.pe.terms import WindowTerms
from rtl.arithmetic.decoder import Decoder
from rtl.catalog import find_pe
from rtl.pe.special.circuit import SpecialTerm
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove, refute_wrong

PE = find_pe("bitmod-fp4-special")
E2M1 = FORMATS["fp4_e2m1"]


def test_windows_see_the_two_highest_ones():
    windows = WindowFormat()
    values = {abs(windows.decode(code)) for code in range(64)}
    two = {(a | b) / 2 for a in (1, 2, 4, 8, 16) for b in (0, 1, 2, 4, 8, 16)}
    assert values == two | {0.0} and windows.min == -12.0 and windows.max == 12.0
    for value in values:
        assert windows.decode(windows.encode(-value)) == -value
    assert WindowTerms(windows).cycles == 2


@pytest.mark.parametrize("bits", [3, 4])
def test_bitmods_values_come_to_what_its_own_pe_gives(bits):
    scheme = SCHEMES[f"bitmod-fp{bits}"]
    fixed = SelectedFormat(name=scheme.name, candidates=scheme.formats)
    random = np.random.default_rng(0)
    codes = random.integers(0, 1 << bits, (40, 32))
    chosen = random.integers(0, 4, (40, 1))
    activations = random.normal(0.0, 1.0, (40, 32)).astype(np.float16).view(np.uint16)
    wanted = aligned_dots(
        AlignedDot(generator=WindowTerms(fixed)), chosen << bits | codes, activations
    )
    base = E2M1 if bits == 4 else FORMATS["fp3_e2m0"]
    dot, windows = SpecialDot(base=base), WindowFormat()
    specials = [windows.encode(fmt.decode(dot.minus_zero)) for fmt in scheme.formats]
    found = dot.groups(codes, np.repeat(np.array(specials)[chosen], 32, axis=1), activations)
    assert np.array_equal(found[0], wanted[0]) and np.array_equal(found[1], wanted[1])


def test_terms_are_proved_and_forgotten_signs_refuted(monkeypatch):
    obligation = PE.obligations()[0]
    assert prove(obligation).is_equal and not refute_wrong(obligation).is_equal
    whole = SpecialTerm.elaborate

    def without_sign(self, platform):
        m = whole(self, platform)
        m.submodules.again = again = Decoder(self.model.base)
        m.d.comb += [again.code.eq(self.code), self.sign.eq(again.value[-1])]
        return m

    monkeypatch.setattr(SpecialTerm, "elaborate", without_sign)
    assert not prove(obligation).is_equal


@pytest.mark.slow
def test_groups_in_compiled_code():
    with CompiledPe(PE) as model:
        for operands in (PE.corners(), PE.random(5000, seed=1)):
            assert np.array_equal(model.run(operands)[0], PE.golden(operands))
