import base64
from typing import Any

import pytest
from tests.api.text.conftest import CHAT, REASONER, Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
DATA = f"data:image/png;base64,{PIXEL}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def asking(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, part]},
    ]


@pytest.mark.parametrize(
    "part",
    [
        image(DATA),
        {"type": "video_url", "video_url": {"url": DATA}},
        {"type": "audio_url", "audio_url": {"url": DATA}},
        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
    ],
)
async def test_a_model_that_cannot_take_a_part_is_named_with_it(client: Client, part: Any) -> None:
    error = await client.refused(messages=asking(part))
    assert error["param"] == f"messages.1.content.1.{part['type']}"
    assert CHAT.name in error["message"]


async def test_a_model_that_can_gets_the_image(client: Client) -> None:
    answer = await client.chat(asking(image(DATA)), model=REASONER.name)
    assert answer["choices"][0]["message"]["content"] == "see [1 image]"


@pytest.mark.parametrize(
    "place",
    [
        "data:image/png,plain",
        "data:image/png;base64,!!!",
        "data:image/png;base64,",
        f"data:text/html;base64,{PIXEL}",
        "http://127.0.0.1:1/x.png",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_image_that_is_none_or_is_nobodys_business_is_refused(
    client: Client, place: str, stream: bool
) -> None:
    error = await client.refused(messages=asking(image(place)), model=REASONER.name, stream=stream)
    assert error["param"] == "messages.1.content.1.image_url.url"
