import pytest

from tutti.base.errors import InvalidRequest
from tutti.catalog.sources.hub import HubName
from tutti.features.models.upload_sources import HubSource, UrlSource, kind_of, parse_source, shown
from tutti.fetch.fetch import Fetcher

HUB = "https://hub.test"
PRESIGNED = "https://bucket.s3.amazonaws.com/a/lora.tar.gz?X-Amz-Signature=secret"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("me/model", HubName("me/model", "main", "")),
        ("me/model@v1", HubName("me/model", "v1", "")),
        ("me/model:Q8_0", HubName("me/model", "main", "Q8_0")),
        (f"{HUB}/me/model", HubName("me/model", "main", "")),
        (f"{HUB}/me/model/tree/v1", HubName("me/model", "v1", "")),
    ],
)
def test_a_repository_of_the_hub(text: str, name: HubName) -> None:
    assert parse_source(text, HUB + "/", Fetcher()) == HubSource(name)


@pytest.mark.parametrize(
    ("text", "filename", "is_archive"),
    [
        (PRESIGNED, "lora.tar.gz", True),
        ("https://example.com/x.gguf", "x.gguf", False),
        ("https://example.com/a%20b.zip#part", "a b.zip", True),
        ("s3://bucket/some key/x.tar.zst", "x.tar.zst", True),
    ],
)
def test_an_address(text: str, filename: str, is_archive: bool) -> None:
    source = parse_source(text, HUB, Fetcher())
    assert isinstance(source, UrlSource)
    assert (source.filename, source.is_archive) == (filename, is_archive)
    assert source.url.startswith("https://")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model", "neither"),
        ("/etc/passwd", "neither"),
        ("../../x", "neither"),
        ("file:///etc/passwd", "only http and https"),
        ("https://example.com/model.bin", "model.bin is a pickle"),
        ("https://example.com/model.pt?x=1", "model.pt is a pickle"),
        ("https://example.com/model.safetensors", "lacks the configuration"),
        ("https://example.com/", "neither a .gguf file nor an archive"),
        ("http://127.0.0.1/x.gguf", "not a public address"),
        ("http://169.254.169.254/x.gguf", "not a public address"),
        ("https://user:word@example.com/x.gguf", "user name or password"),
        (f"{HUB}/me/model/blob/main/x.txt", "neither"),
    ],
)
def test_anything_else_is_refused_and_the_reason_given(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        parse_source(text, HUB, Fetcher())
    assert caught.value.param == "model_source"


@pytest.mark.parametrize("address", ["https://example.com/x.gguf?a=1", "s3://bucket/x.gguf"])
def test_an_address_may_say_the_hash(address: str) -> None:
    source = parse_source(f"{address}#sha256={'AB' * 32}", HUB, Fetcher())
    assert isinstance(source, UrlSource)
    assert (source.sha256, source.filename) == ("ab" * 32, "x.gguf")
    assert "#" not in source.url
    with pytest.raises(InvalidRequest, match="64 hexadecimal digits"):
        parse_source(f"{address}#sha256=12", HUB, Fetcher())


def test_what_is_shown_has_no_credentials() -> None:
    assert shown(PRESIGNED) == "https://bucket.s3.amazonaws.com/a/lora.tar.gz"
    assert shown("me/model@v1") == "me/model@v1"


def test_the_kind_of_a_source() -> None:
    assert [kind_of(it) for it in ("me/model", PRESIGNED, "s3://b/k.gguf", "https://example.com/x.gguf")] == [
        "huggingface",
        "s3",
        "s3",
        "url",
    ]
