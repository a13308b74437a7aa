"""Tree numbers: what people read out, mistype, or make up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.planting.tree_numbers import draw_number, parse_number

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NUMBERS = st.builds(draw_number)
PLACES = st.integers(0, 11)


def symbols_of(number):
    return list(number.removeprefix("SX").replace("-", ""))


def test_numbers_are_many_and_of_one_form():
    numbers = {draw_number() for _ in range(2_000)}
    assert len(numbers) == 2_000
    for number in numbers:
        assert parse_number(number) == number
        assert [len(part) for part in number.split("-")] == [2, 4, 4, 4]


@given(number=NUMBERS)
def test_a_number_is_understood_as_people_type_it(number):
    typed = number.lower().replace("-", " ").replace("1", "l").replace("0", "o")
    assert parse_number(typed) == number
    assert parse_number(number.replace("-", "")) == number


@given(number=NUMBERS, place=PLACES, symbol=st.sampled_from(ALPHABET))
def test_one_wrong_symbol_is_found(number, place, symbol):
    symbols = symbols_of(number)
    is_same = symbols[place] == symbol
    symbols[place] = symbol
    assert (parse_number("SX" + "".join(symbols)) == number) is is_same


@given(number=NUMBERS, one=PLACES, other=PLACES)
def test_two_symbols_that_changed_places_are_found(number, one, other):
    symbols = symbols_of(number)
    is_same = symbols[one] == symbols[other]
    symbols[one], symbols[other] = symbols[other], symbols[one]
    assert (parse_number("SX" + "".join(symbols)) is not None) is is_same


@pytest.mark.parametrize(
    "text", ["", "SX", "SX-0000-0000-000", "SXSX-0000-0000-00", "x" * 100, "🌳"]
)
def test_what_cannot_be_a_number_is_none(text):
    assert parse_number(text) is None


def test_the_prefix_belongs_to_the_number():
    assert parse_number(draw_number().removeprefix("SX-")) is None
