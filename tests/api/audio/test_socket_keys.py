"""Keys and their limits at the WebSockets: errors are events of the API."""

from pathlib import Path
from typing import Any

from tests.api.audio.conftest import SPEECH, talking
from tests.support.platform import api

from tutti.access.keys import create_key, server_secret
from tutti.base.settings import Settings
from tutti.store.db import Database, database_url


async def test_a_wrong_key_and_one_whose_limit_is_reached_are_told(tmp_path: Path) -> None:
    async with api(tmp_path, [SPEECH]) as url:
        settings = Settings(data_dir=tmp_path)
        database = await Database.open(database_url(settings))
        key = await create_key(database, server_secret(settings), "test", requests_per_minute=1)
        await database.close()
        for path, kind in (
            ("/v1/realtime", "input_audio_transcription"),
            ("/v1/audio/speech/websocket", "tts"),
        ):
            async with talking(url, path, {"authorization": "Bearer wrong"}) as talk:
                failed = await talk.next()
                assert failed["type"] == f"conversation.item.{kind}.failed"
                assert failed["error"]["code"] == "invalid_api_key"
                assert await talk.closed() == 1008
        headers = {"authorization": f"Bearer {key.secret}"}
        path = f"/v1/audio/speech/websocket?model={SPEECH.name}"
        async with talking(url, path, headers) as first:
            assert (await first.next())["type"] == "session.created"
        refusal, status = await told(url, path, headers)
        if refusal["type"] == "session.created":  # another minute had begun
            refusal, status = await told(url, path, headers)
        assert refusal["error"]["type"] == "rate_limit_error"
        assert status == 1013


async def told(url: str, path: str, headers: Any) -> tuple[Any, int | None]:
    """The first event, and the close code where the server closes then."""
    async with talking(url, path, headers) as talk:
        event = await talk.next()
        return event, await talk.closed() if "error" in event else None
