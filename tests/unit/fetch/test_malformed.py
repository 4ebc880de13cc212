"""URLs that are none: always the client's mistake, wherever one is taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.budget import examples

from tutti.base.errors import InvalidRequest
from tutti.features.models.upload_sources import parse_source
from tutti.fetch.fetch import Fetcher

MALFORMED = [
    "http://[::1/",
    "https://[x]/a.wav",
    "http://[]@",
    "http://a:port/",
    "http://a:99999/",
    "http:///a.wav",
    "http://ex\u2100mple.com/a.gguf",
    "http://[fe80::1%eth0]/",
]
ALMOST = st.text(alphabet="htps:/[]@%?#.0123456789aé\u2100\uff0f~x", max_size=40).map("http://".__add__)


@pytest.mark.parametrize("url", MALFORMED)
async def test_a_malformed_url_is_a_400_that_names_the_field(url):
    fetcher = Fetcher()
    with pytest.raises(InvalidRequest) as checked:
        fetcher.check(url, param="file")
    with pytest.raises(InvalidRequest) as fetched:
        await fetcher.fetch(url, 1, 60, param="file")
    with pytest.raises(InvalidRequest) as uploaded:
        parse_source(url, "https://hub.example", fetcher)
    assert (checked.value.param, checked.value.code) == ("file", "url_not_fetched")
    assert (fetched.value.param, fetched.value.code) == ("file", "url_not_fetched")
    assert uploaded.value.param == "model_source"


@settings(max_examples=examples(100), deadline=None)
@given(st.text() | ALMOST)
def test_whatever_is_said_to_be_a_url_raises_nothing_else(text):
    for read in (Fetcher().check, lambda url: parse_source(url, "https://hub.example", Fetcher())):
        try:
            read(text)
        except InvalidRequest as error:
            assert error.message
