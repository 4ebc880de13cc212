"""Keys and their limits at the WebSockets: errors are events of the API."""

from pathlib import Path

from tests.api.audio.conftest import SPEECH, talking
from tests.support.platform import api

from tutti.base.settings import Settings
from tutti.http.keys import create_key, server_secret
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
        async with talking(url, path, headers) as first, talking(url, path, headers) as second:
            assert (await first.next())["type"] == "session.created"
            assert (await second.next())["error"]["type"] == "rate_limit_error"
            assert await second.closed() == 1013
