"""Durations and quantities: their text forms and their amounts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.model.duration import Duration, format_duration, parse_duration
from stickyrouting.model.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("1ms", 1),
        ("1h30m", 5_400_000),
        ("30m30m", 3_600_000),
        ("00060m", 3_600_000),
        ("1m1ms", 60_001),
        ("1h1m1s1ms", 3_661_001),
        ("99999h", 359_996_400_000),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == Duration(milliseconds)


@pytest.mark.parametrize(
    "text", ["", "5", "1d", "1.5s", "-1s", "1 h", "1h ", "1h\n", "100000h", "1h1h1h1h1h", "s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration; write one such as 500ms, 30s or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (1, "1ms"), (60_000, "1m"), (5_400_500, "1h30m500ms"), (90_000_000, "25h")],
)
def test_a_duration_is_written_with_the_greatest_unit_first(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text
    assert str(Duration(milliseconds)) == text


@pytest.mark.parametrize("milliseconds", [-1, 360_000_000_000])
def test_a_length_that_the_format_cannot_hold_is_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="it must be from 0s to 99999h"):
        format_duration(milliseconds)


@given(st.integers(min_value=0, max_value=359_999_999_999))
def test_every_duration_that_is_written_reads_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)).milliseconds == milliseconds


def test_a_duration_is_a_frozen_value() -> None:
    assert len({Duration(1), Duration(1), Duration(2)}) == 2
    assert Duration(1_999).seconds == 1
    assert Duration(1) != 1
    with pytest.raises(AttributeError, match="a duration is frozen"):
        Duration(1).milliseconds = 2


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        (2, "2"),
        ("100m", "0.1"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("+1.", "1"),
        ("128Mi", "134217728"),
        ("1E", "1e18"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("12e-1", "1.2"),
        ("5n", "5e-9"),
        ("5u", "5e-6"),
    ],
)
def test_a_quantity_is_its_number_times_its_suffix(quantity: int | str, amount: str) -> None:
    assert parse_quantity(quantity) == Decimal(amount)


@pytest.mark.parametrize("quantity", ["", "-1", "1Mb", "1 Gi", "Gi", "1.2.3", "1mi", -1])
def test_what_is_no_quantity_is_refused_with_an_example(quantity: int | str) -> None:
    with pytest.raises(ValueError, match="is no quantity; write one such as 100m, 128Mi or 2"):
        parse_quantity(quantity)
