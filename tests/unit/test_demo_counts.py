"""Counts as the product shows them, against the truth: every proxy to the last session, the status to 5 %."""

import pytest

from demo.board import Board, make_line
from demo.counts import Counts, differences, parse_metric, parse_status

TRUTH = {"shop-a": 400, "shop-b": 200}
RIGHT = Counts({"shop-a": 400, "shop-b": 200}, {"p": 600, "q": 600})


def test_the_status_tells_sessions_by_pod_or_nothing() -> None:
    endpoints = [{"name": "shop-a", "id": 1, "state": "Ready", "sessions": 4}, {"name": "shop-b", "id": 2}]
    assert parse_status({"status": {"sessions": 4, "endpoints": endpoints}}) == {"shop-a": 4}
    assert parse_status({"status": {"endpoints": endpoints}}) is None
    assert parse_status({}) is None


def test_a_metric_is_read_by_its_whole_name() -> None:
    text = "# TYPE sticky_agent_sessions gauge\nsticky_agent_sessions_lost 9.0\nsticky_agent_sessions 600.0\n"
    assert parse_metric(text, "sticky_agent_sessions") == 600
    with pytest.raises(ValueError, match="no metric sticky"):
        parse_metric(text, "sticky")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (RIGHT, []),
        (Counts({"shop-a": 380, "shop-b": 210}, {"p": 600}), []),
        (Counts(None, {"p": 600}), ["the status gives no numbers"]),
        (Counts(TRUTH, {}), ["no proxy counts"]),
        (Counts(TRUTH, {"p": 600, "q": 601}), ["proxy q: 601 of 600"]),
        (Counts({"shop-a": 379, "shop-b": 200}, {"p": 600}), ["status of shop-a: 379 of 400"]),
        (Counts({"shop-a": 400}, {"p": 600}), ["status of shop-b: 0 of 200"]),
        (Counts({**TRUTH, "shop-c": 1}, {"p": 600}), ["status of shop-c: 1 of 0"]),
    ],
)
def test_what_is_counted_otherwise_than_it_is_is_told(counts: Counts, told: list[str]) -> None:
    assert differences(counts, TRUTH) == told


def test_exactness_can_be_asked_of_the_status_too() -> None:
    almost = Counts({"shop-a": 399, "shop-b": 201}, {"p": 600})
    assert differences(almost, TRUTH) == []
    assert len(differences(almost, TRUTH, share=0.0)) == 2


def test_the_line_of_the_board_tells_how_many_sessions_are_counted() -> None:
    assert make_line(Board(counted=TRUTH)).endswith("ready, 600 sessions counted")
    assert make_line(Board()).endswith("ready")
