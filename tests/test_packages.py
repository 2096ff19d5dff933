from importlib.metadata import packages_distributions

ROOMS = ("numerics", "hw", "roofline", "rtl", "sim")


def test_no_other_distribution_provides_our_packages():
    owners = packages_distributions()
    assert {owner for room in ROOMS for owner in owners.get(room, [])} <= {"qsim-codesign"}
