"""Every name and spelling in the list of formats can be parsed."""

from numerics import FORMATS, SCHEMES, parse_scheme
from numerics.names.families import FAMILIES
from sim.formats.tables import ELEMENT_FORMS, families_table


def test_every_form_has_an_example_that_can_be_read():
    table = families_table()
    assert table.row_count == len(FAMILIES) + len(ELEMENT_FORMS)
    for like in (*(family.like for family in FAMILIES), *ELEMENT_FORMS.values()):
        assert parse_scheme(parse_scheme(like).name) == parse_scheme(like)


def test_elements_without_a_scheme_of_their_name_are_of_a_form():
    hidden = {name for name in FORMATS if name not in SCHEMES and name.startswith("int")}
    assert hidden == {f"int{bits}_full" for bits in range(2, 9)} | {"int8_q6"}
