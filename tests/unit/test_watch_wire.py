"""Lines, pages and statuses of a watch, without I/O."""

from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.watch.wire import Lines, Status, pages, read_status


def test_a_line_waits_for_its_end() -> None:
    lines = Lines()
    assert lines.feed(b'{"a":') == []
    assert lines.feed(b"1}") == []
    assert lines.feed(b'\n{"b":2}\n{"c"') == [b'{"a":1}', b'{"b":2}']
    assert lines.feed(b":3}\n") == [b'{"c":3}']


def test_empty_lines_are_left_out() -> None:
    assert Lines().feed(b"\n\n{}\n \n") == [b"{}"]


@given(
    st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and line.strip())),
    st.lists(st.integers(min_value=1, max_value=7)),
)
def test_lines_are_the_same_however_they_are_cut(wanted: list[bytes], cuts: list[int]) -> None:
    stream, lines, found = b"".join(line + b"\n" for line in wanted), Lines(), []
    for cut in [*cuts, len(stream)]:
        found += lines.feed(stream[:cut])
        stream = stream[cut:]
    assert found == wanted


def test_a_list_that_names_no_items_is_empty() -> None:
    page = pages.decode(b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":null}')
    assert (page.items, page.metadata.resource_version, page.metadata.next) == (None, "7", "")


def test_a_status_is_read_from_json_or_made_of_text() -> None:
    body = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'
    assert read_status(body, 403) == Status(403, "Forbidden", "no")
    assert read_status(b'{"message":"no"}', 403) == Status(403, "", "no")
    assert read_status(b"404 page not found\n", 404) == Status(404, "", "404 page not found")
    assert read_status(b"", 502) == Status(502, "", "HTTP 502")
