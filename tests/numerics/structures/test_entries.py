"""The catalog names of codebook and structured schemes."""

import pytest

from numerics.codebooks.entries import ENTRIES as CODEBOOKS
from numerics.structures.entries import ENTRIES as STRUCTURES

ENTRIES = CODEBOOKS | STRUCTURES


def test_names_are_different():
    assert len(ENTRIES) == len(CODEBOOKS) + len(STRUCTURES)
    assert {"e8p", "e8p-2", "e8p-3", "kmeans3", "kmeans4", "aqlm-2x8", "aqlm-1x16"} < set(CODEBOOKS)
    assert {"int4-2-of-4", "int8-top39", "spqr-3", "any-precision-4"} < set(STRUCTURES)


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_are_named_as_their_schemes_and_count_all_they_store(name):
    scheme, source = ENTRIES[name]
    assert (scheme.name, len(source) > 10) == (name, True)
    shape = (256, 512)
    bits = {kind: scheme.bits_per_weight(shape, kind=kind) for kind in ("index", "full", "stored")}
    assert 0 < bits["index"] < bits["full"] <= bits["stored"]
    assert len({field.name for field in scheme.layout(shape)}) == len(scheme.layout(shape))
