"""`make docs` keeps the list of operations that are not served."""

from docs.gaps import GAPS, without_served


def test_nothing_that_is_served_is_listed() -> None:
    listed = GAPS.read_text()
    assert without_served(listed) == listed


def test_an_operation_that_is_served_by_now_leaves_the_list() -> None:
    head, tail = 'operations = [\n  "GET /nonesuch",\n', "]\n"
    served = '  "GET /files/{id}",  # retrieveFile\n  "POST /batches",\n'
    assert without_served(head + served + tail) == head + tail
