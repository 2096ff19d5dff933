import pytest

from numerics.names.suggest import unknown

NAMES = ["int4", "fp4", "nvidia_A100_80G", "mxfp8_e4m3"]


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("fp5", "fp4"),
        ("FP4", "fp4"),
        ("mxfp", "mxfp8_e4m3"),
        ("NVIDIA a100_8G", "nvidia_A100_80G"),
    ],
)
def test_the_nearest_choice_is_suggested_whatever_its_case(name, guess):
    assert unknown("thing", name, NAMES) == f"unknown thing {name!r}; did you mean '{guess}'?"
    message = f"unknown thing {name!r}; did you mean '{guess}'? `qsim things` lists all"
    assert unknown("thing", name, NAMES, see="qsim things") == message


@pytest.mark.parametrize("name", ["zzz", "", " "])
def test_without_a_near_choice_the_message_says_where_they_are(name):
    assert unknown("thing", name, NAMES, see="qsim things") == (
        f"unknown thing {name!r}; `qsim things` lists all"
    )
    assert unknown("thing", name, NAMES) == f"unknown thing {name!r}; known: {', '.join(NAMES)}"
    assert unknown("thing", name, []) == f"unknown thing {name!r}; known: none"


def test_a_caller_can_suggest_for_itself():
    message = unknown("thing", "x", NAMES, see="qsim things", near=("fp4", "int4"))
    assert message == "unknown thing 'x'; did you mean 'fp4' or 'int4'? `qsim things` lists all"


def test_the_message_is_one_line_whatever_the_name():
    assert "\n" not in unknown("thing", "a\nb", NAMES)
