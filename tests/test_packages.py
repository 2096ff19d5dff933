from importlib.metadata import packages_distributions

ROOMS = ("numerics", "hw", "roofline", "rtl", "sim")


def test_no_other_distribution_provides_our_packages():
    owners = packages_distributions()
    assert {room: set(owners.get(room, ["qsim-codesign"])) for room in ROOMS} == dict.fromkeys(
        ROOMS, {"qsim-codesign"}
    )
