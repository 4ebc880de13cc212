"""The routes of the fake engine, and its pace."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from tutti.workers.echo import chunks, media, text
from tutti.workers.echo.options import Options
from tutti.workers.echo.realtime import Session
from tutti.workers.echo.server import Answer, Incoming
from tutti.workers.echo.words import id_of, overlap, tokens_of, vector_of

Json = dict[str, Any]


class App:
    """The fake engine: its routes, its counts for GET /progress, and its slots."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._slots = asyncio.Semaphore(options.slots)
        self._busy = 0
        self._done = 0  # tokens and requests
        self._sessions: dict[str, Session] = {}
        self._routes = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/v1/rerank": self._rerank,
            "/v1/audio/speech": self._speech,
            "/v1/images/generations": self._images,
            "/tokenize": self._tokenize,
            "/realtime": self._realtime,
        }

    async def answer(self, incoming: Incoming) -> Answer:
        if incoming.path == "/health":
            return Answer(b"{}")
        if incoming.path == "/progress":
            return _json({"busy": self._busy, "done": self._done, "sessions": len(self._sessions)})
        try:
            if incoming.path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
                return await self._transcribe(incoming)
            if incoming.path.startswith("/realtime/"):
                return self._take_message(incoming)
            handler = self._routes.get(incoming.path)
            if handler is None:
                raise text.Refused(404, "Not Found")
            return await handler(msgspec.json.decode(incoming.body))
        except text.Refused as refused:
            return _error(refused.status, str(refused))
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # a body of the wrong shape
            return _error(400, f"{type(error).__name__}: {error}")

    async def _chat(self, body: Json) -> Answer:
        script = text.of_chat(body, self._options)
        if body.get("stream"):
            return self._stream(script, body, chunks.chat_events(script, body, self._options.model))
        return await self._whole(script, chunks.chat_answer(script, body, self._options.model))

    async def _complete(self, body: Json) -> Answer:
        script = text.of_completion(body, self._options)
        if body.get("stream"):
            return self._stream(script, body, chunks.completion_events(script, body, self._options.model))
        return await self._whole(script, chunks.completion_answer(script, body, self._options.model))

    def _stream(self, script: text.Script, body: Json, events: Iterable[bytes]) -> Answer:
        async def frames() -> AsyncGenerator[bytes]:
            async for frame in self._paced(script, events):
                yield frame
            yield chunks.closing_events(script, body, self._options.model)

        return Answer(frames(), content_type="text/event-stream")

    async def _whole(self, script: text.Script, answer: bytes) -> Answer:
        async for _ in self._paced(script, [b""] * script.completion_tokens):
            pass
        return Answer(answer)

    async def _paced(self, script: text.Script, frames: Iterable[bytes]) -> AsyncGenerator[bytes]:
        """Yield one frame a token, each when it is due. The request holds a slot until the last one."""
        interval = 1 / self._options.tokens_per_s if self._options.tokens_per_s else 0.0
        count = 0
        async with self._working():
            due = time.monotonic() + self._options.first_token_delay_s + script.sleep_s
            for frame in frames:
                await asyncio.sleep(due - time.monotonic())
                _misbehave(script, count)
                yield frame
                self._done += 1
                count += 1
                due += interval
            await asyncio.sleep(0)
            _misbehave(script, max(count, script.crash_after or 0, script.hang_after or 0))

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        self._busy += 1
        try:
            async with self._slots:
                yield
            self._done += 1
        finally:
            self._busy -= 1

    async def _embed(self, body: Json) -> Answer:
        given = body["input"]
        texts: list[str] = [given] if isinstance(given, str) else given
        async with self._working():
            await asyncio.sleep(self._options.first_token_delay_s)
            vectors = [vector_of(one, body.get("dimensions") or self._options.dimensions) for one in texts]
        as_base64 = body.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector.tobytes() if as_base64 else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        counted = sum(len(tokens_of(one)[: self._options.context_length]) for one in texts)
        usage = {"prompt_tokens": counted, "total_tokens": counted}
        return _json({"object": "list", "model": self._options.model, "data": data, "usage": usage})

    async def _rerank(self, body: Json) -> Answer:
        query, documents = body["query"], body["documents"]
        async with self._working():
            results = [
                {"index": index, "relevance_score": overlap(query, document)}
                for index, document in enumerate(documents)
            ]
        results.sort(key=lambda result: -result["relevance_score"])
        counted = sum(len(tokens_of(one)) for one in (query, *documents))
        usage = {"prompt_tokens": counted, "total_tokens": counted}
        return _json({"id": "echo-0", "model": self._options.model, "results": results, "usage": usage})

    async def _speech(self, body: Json) -> Answer:
        """Answer with a tone for the text. Each word of the text takes the time of a token."""
        script = text.of_completion({"prompt": body["input"]}, self._options)
        spoken, voice = "".join(script.tokens), body.get("voice") or ""
        if voice == "nobody":
            raise text.Refused(400, "There is no voice nobody: use any other.")
        rate, form = body.get("sample_rate") or media.SAMPLE_RATE, body.get("response_format") or "wav"
        encoding = body.get("response_encoding") or "pcm_s16le"
        if form == "raw":
            media.samples(media.tone("", voice, rate), encoding)  # refused before the answer begins
            return Answer(self._spoken(script, spoken, voice, rate, encoding), content_type="audio/pcm")
        wave = media.tone(spoken, voice, rate)
        made = {"wav": lambda: media.wav(wave, rate), "mp3": lambda: media.silent_mp3(len(wave) / rate)}
        if form not in made:
            raise text.Refused(400, f"echo does not write {form}")
        return await self._whole(script, made[form]())

    async def _spoken(
        self, script: text.Script, spoken: str, voice: str, rate: int, encoding: str
    ) -> AsyncGenerator[bytes]:
        frames: list[bytes] = []
        for sentence in media.sentences_of(spoken):
            frames += [b""] * (len(tokens_of(sentence)) - 1)
            frames.append(media.samples(media.tone(sentence, voice, rate), encoding))
        async with aclosing(self._paced(script, frames)) as pieces:
            async for piece in pieces:
                if piece:
                    yield piece

    async def _transcribe(self, incoming: Incoming) -> Answer:
        form = media.form_fields(incoming.content_type, bytes(incoming.body))
        script = text.of_completion({"prompt": form.get("prompt", b"").decode()}, self._options)
        heard = media.transcript(
            form["file"], form.get("language", b"").decode(), speakers=form.get("diarize") == b"true"
        )
        return await self._whole(script, msgspec.json.encode(heard))

    async def _realtime(self, body: Json) -> Answer:
        text.of_completion({"prompt": body.get("prompt") or ""}, self._options)  # it may ask for an error
        return Answer(self._session_events(Session(body)), content_type="application/x-ndjson")

    def _take_message(self, incoming: Incoming) -> Answer:
        session = self._sessions.get(incoming.path.removeprefix("/realtime/"))
        if session is None:
            raise text.Refused(404, "there is no such session")
        session.take(msgspec.json.decode(incoming.body))
        return _json({})

    async def _session_events(self, session: Session) -> AsyncGenerator[bytes]:
        self._sessions[session.id] = session
        try:
            while True:
                yield msgspec.json.encode(await session.events.get()) + b"\n"
                self._done += 1
        finally:
            del self._sessions[session.id]

    async def _images(self, body: Json) -> Answer:
        width, height = (int(side) for side in (body.get("size") or "64x64").split("x"))
        async with self._working():
            image = media.picture(body["prompt"], width, height)
        return _json({"created": 0, "data": [{"b64_json": image}] * (body.get("n") or 1)})

    async def _tokenize(self, body: Json) -> Answer:
        script = (
            text.of_chat(body, self._options)
            if "messages" in body
            else text.of_completion(body, self._options)
        )
        ids = [id_of(token) for token in script.prompt]
        return _json({"count": len(ids), "tokens": ids, "token_strs": script.prompt})


def _misbehave(script: text.Script, count: int) -> None:
    """Crash or hang, if the script says so, once `count` tokens were sent."""
    if script.crash_after is not None and count >= script.crash_after:
        os._exit(1)
    if script.hang_after is not None and count >= script.hang_after:
        while True:
            time.sleep(3600)


def _json(body: Json) -> Answer:
    """Return the body as a JSON answer. Bytes in it become base64, as msgspec writes them."""
    return Answer(msgspec.json.encode(body))


def _error(status: int, message: str) -> Answer:
    kind = "BadRequestError" if status < 500 else "InternalServerError"
    error = {"message": message, "type": kind, "param": None, "code": status}
    return Answer(msgspec.json.encode({"error": error}), status=status)
