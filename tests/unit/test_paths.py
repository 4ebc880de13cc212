from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutti.http.paths import Path, decode_ids, family, normalise


@pytest.mark.parametrize(
    ("given", "path", "openai"),
    [
        (b"/v1/models", "/v1/models", False),
        (b"/v1//tci/execute", "/v1/tci/execute", False),
        (b"/v1/v1/chat/completions", "/v1/chat/completions", False),
        (b"/v1/v3/whoami", "/v3/whoami", False),
        (b"/v1/v2/videos", "/v1/videos", False),
        (b"/v2/videos/x", "/v1/videos/x", False),
        (b"/v2", "/v2", False),
        (b"/v3/whoami", "/v3/whoami", False),
        (b"/v1/v1x", "/v1/v1x", False),
        (b"/openai/v1/models", "/v1/models", True),
        (b"/openai/v1", "/v1", True),
        (b"/openai/v1x", "/openai/v1x", False),
        (b"/v1/models/", "/v1/models", False),
        (b"/", "/", False),
        (b"//", "/", False),
        (b"/v1/models/a%2Fb", "/v1/models/a%2Fb", False),
        (b"/v1/models/a%2fb", "/v1/models/a%2Fb", False),
        (b"/v1/models/a%20b", "/v1/models/a b", False),
    ],
)
def test_one_spelling(given, path, openai):
    assert normalise(given) == Path(path, openai)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_id_survives_the_way_through_the_path(id):
    raw = f"/v1/models/{quote(id, safe='')}/end".encode()
    path = normalise(raw).path
    assert path.count("/") == 4
    encoded = path.removeprefix("/v1/models/").removesuffix("/end")
    assert decode_ids({"id": encoded}) == {"id": id}


@given(st.from_regex(r"\A(/(v1|v2|v3|openai|x)?){0,6}\Z"))
def test_a_normal_path_stays_as_it_is(raw):
    once = normalise(raw.encode() or b"/").path
    assert "//" not in once
    assert family(Path(once, False), b"curl") == "together"
