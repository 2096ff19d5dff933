"""Points of one recipe and several calibration texts have names of their own."""

from dataclasses import dataclass, field

from sim.sweep.distinct import distinct


@dataclass(frozen=True)
class Point:
    recipe: str
    provenance: dict[str, str] = field(default_factory=dict)
    definition: str = ""


def calibrated(text, digest="0" * 64, recipe="int3 gptq"):
    about = f"{text}, 2 windows of 256 tokens; another text"
    return Point(recipe, {"calibration": about, "calibration_text_sha256": digest})


def names(*points):
    return [point.recipe for point in distinct(points)]


def test_only_points_that_differ_in_the_calibration_are_renamed():
    plain, one = Point("int3"), calibrated("a.txt")
    assert names(plain, one, calibrated("a.txt", recipe="int3 clip")) == [
        "int3",
        "int3 gptq",
        "int3 clip",
    ]
    assert names(plain, one, calibrated("b.txt", "1" * 64)) == [
        "int3",
        "int3 gptq (a.txt, 2 windows of 256 tokens)",
        "int3 gptq (b.txt, 2 windows of 256 tokens)",
    ]


def test_texts_of_the_same_name_are_told_apart_by_their_hashes():
    same = calibrated("a.txt"), calibrated("a.txt", "1" * 64)
    assert names(*same) == [
        "int3 gptq (a.txt, 2 windows of 256 tokens, 00000000)",
        "int3 gptq (a.txt, 2 windows of 256 tokens, 11111111)",
    ]


def test_a_point_measured_with_another_second_text_is_shown_once():
    assert names(Point("int3"), calibrated("a.txt"), Point("int3"), calibrated("a.txt")) == [
        "int3",
        "int3 gptq",
    ]
    assert names(Point("mix"), Point("mix", definition="another")) == ["mix", "mix"]
