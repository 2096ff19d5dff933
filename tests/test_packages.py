from importlib.metadata import packages_distributions

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from numerics.arithmetic.packing import pack

ROOMS = ("numerics", "hw", "roofline", "rtl", "sim")


def test_no_other_distribution_provides_our_packages():
    owners = packages_distributions()
    assert {owner for room in ROOMS for owner in owners.get(room, [])} <= {"qsim-codesign"}


def test_shapes_are_checked_while_tests_run():
    with pytest.raises(TypeCheckError):
        pack(np.zeros(8, np.int64), bits=4)
