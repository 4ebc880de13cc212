"""The OpenAI dialect, shared by every engine that speaks it: calls become requests, answers become deltas.

Servers know different fields beyond OpenAI's, so each engine describes its `Server`; a field that the server
does not know is never sent. What a call cannot do without is then refused, mere preferences are left out.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec

from tutti.base.errors import ContextTooLong, InvalidRequest, Unavailable
from tutti.base.model import Model
from tutti.engines.answers import Delta, Embeddings, FinishReason, Scores, Usage
from tutti.engines.calls import ChatCall, CompletionCall
from tutti.engines.control import ESCAPE, changed, is_control_like, splitter, suspicious, texts_of
from tutti.engines.openai_answers import (
    Answer,
    RerankAnswer,
    Tokenized,
    ToolCallPart,
    calls_of,
    decode,
    delta_of,
    embeddings_of,
    finish_of,
    prompt_of,
    read_answer,
)
from tutti.engines.openai_calls import CallReader
from tutti.engines.openai_errors import error_in_stream, error_of
from tutti.engines.openai_requests import Json, Server, chat_body, completion_body
from tutti.engines.sse import EventSplitter
from tutti.engines.upstream import Refusal, Upstream

Batches = AsyncIterator[Sequence[Delta]]


@dataclass(frozen=True)
class Dialect:
    """The dialect for text, embeddings and reranking; `server` describes the server of a model."""

    server: Callable[[Model], Server]

    def chat(self, upstream: Upstream, call: ChatCall) -> Batches:
        server = self.server(call.model)
        return _guarded(upstream, server, call) if server.tokenizes else _chat(upstream, server, call)

    def complete(self, upstream: Upstream, call: CompletionCall) -> Batches:
        server = self.server(call.model)
        path, body = server.prefix + "/completions", completion_body(server, call)
        batches = _deltas(upstream, path, body, "max_tokens", truncate=False)
        if not call.echo:
            return batches
        if call.logprobs is not None and not server.vllm:
            raise InvalidRequest("This model's engine has no log-probabilities of the prompt.", param="echo")
        if not (isinstance(call.prompt, str) or server.vllm):
            raise InvalidRequest("This model's engine cannot echo a prompt of token ids.", param="echo")
        return _echoed(upstream, path, body, call, batches)

    async def embed(
        self, upstream: Upstream, model: Model, texts: Sequence[str | Sequence[int]]
    ) -> Embeddings:
        server = self.server(model)
        plain = [text for text in texts if isinstance(text, str)]
        escape = splitter(await _control_words(upstream, server, plain), ESCAPE)
        inputs = [escape(text) if isinstance(text, str) else text for text in texts]
        body: Json = {"model": server.model, "input": inputs}
        if server.vllm:
            body |= {"encoding_format": "base64", "truncate_prompt_tokens": -1}
        data = await upstream.post(server.prefix + "/embeddings", msgspec.json.encode(body))
        return embeddings_of(data)

    async def rerank(self, upstream: Upstream, model: Model, query: str, documents: Sequence[str]) -> Scores:
        server = self.server(model)
        texts = [query, *documents]
        query, *documents = map(splitter(await _control_words(upstream, server, texts), ESCAPE), texts)
        body: Json = {"model": server.model, "query": query, "documents": documents}
        if server.vllm:
            body["truncate_prompt_tokens"] = -1
        data = await upstream.post(server.prefix + "/rerank", msgspec.json.encode(body))
        answer = decode(data, RerankAnswer)
        scores = {result.index: result.relevance_score for result in answer.results}
        counted = answer.usage.prompt_tokens or answer.usage.total_tokens
        return Scores([scores[index] for index in range(len(documents))], counted)


# --- requests ---------------------------------------------------------------------------------------------


async def _guarded(upstream: Upstream, server: Server, call: ChatCall) -> Batches:
    """Escape the control tokens in the client's texts, since the server renders and tokenises by itself."""
    words = await _control_words(upstream, server, texts_of(call))
    async for batch in _chat(upstream, server, changed(call, splitter(words, ESCAPE)) if words else call):
        yield batch


async def _control_words(upstream: Upstream, server: Server, texts: Sequence[str]) -> set[str]:
    """Return the control tokens that the texts mention: those of their tokens that look like it."""
    if not (server.tokenizes and suspicious(texts)):
        return set()
    body = {
        "model": server.model,
        "prompt": "\n".join(texts),
        "add_special_tokens": False,
        "return_token_strs": True,
    }
    answer = decode(await upstream.post("/tokenize", msgspec.json.encode(body)), Tokenized)
    return set(filter(is_control_like, answer.token_strs))


def _chat(upstream: Upstream, server: Server, call: ChatCall) -> Batches:
    path, body = server.prefix + "/chat/completions", chat_body(server, call)
    batches = _deltas(upstream, path, body, server.chat_max_tokens, truncate=call.truncate)
    if not call.echo:
        return batches
    if not server.vllm:
        raise InvalidRequest("This model's engine cannot echo the prompt of a chat.", param="echo")
    return _echoed(upstream, path, body, call, batches)


# --- answers ----------------------------------------------------------------------------------------------


def _deltas(upstream: Upstream, path: str, body: Json, limit: str, *, truncate: bool) -> Batches:
    """Yield the deltas of an answer. `limit` is the name of the body's field for max_tokens."""
    if body.get(limit) == 0:
        return _nothing(upstream, path, {**body, limit: 1})
    if truncate and limit in body:
        return _truncated(upstream, path, body, limit)
    return _answered(upstream, path, body)


async def _answered(upstream: Upstream, path: str, body: Json) -> Batches:
    if not body["stream"]:
        yield [_whole(await _posted(upstream, path, body))]
        return
    reader = StreamReader()
    async for data in upstream.stream(path, msgspec.json.encode(body)):
        if batch := reader.feed(data):
            yield batch
    if batch := reader.close():
        yield batch


async def _truncated(upstream: Upstream, path: str, body: Json, limit: str) -> Batches:
    """Drop a limit that does not fit: the server's own default is then what fits."""
    try:
        async for batch in _answered(upstream, path, body):
            yield batch
    except Refusal as refusal:
        if not isinstance(error_of(refusal), ContextTooLong):
            raise
        unlimited = {name: value for name, value in body.items() if name != limit}
        async for batch in _answered(upstream, path, unlimited):
            yield batch


async def _echoed(
    upstream: Upstream, path: str, body: Json, call: ChatCall | CompletionCall, batches: Batches
) -> Batches:
    text = call.prompt if isinstance(call, CompletionCall) and isinstance(call.prompt, str) else None
    if text is not None and call.logprobs is None:
        yield [Delta(prompt=text)]
    else:
        yield [await _prompt(upstream, path, body, call.logprobs, text)]
    async for batch in batches:
        yield batch


async def _posted(upstream: Upstream, path: str, body: Json) -> Answer:
    answer = read_answer(await upstream.post(path, msgspec.json.encode(body)))
    _raise_error(answer)
    if not answer.choices:
        raise Unavailable("The model's engine sent an answer without a choice.", retry_after_s=1)
    return answer


def _whole(answer: Answer) -> Delta:
    choice, calls = answer.choices[0], CallReader()
    finish = finish_of(choice) or "stop"
    return msgspec.structs.replace(
        delta_of(choice) or Delta(),
        tool_calls=(*calls.read(_apart(calls_of(choice))), *calls.finish(cut_off=finish == "length")),
        finish_reason=finish,
        usage=answer.usage.counted() if answer.usage else None,
    )


def _apart(parts: Sequence[ToolCallPart]) -> Sequence[ToolCallPart]:
    """Give each part an index of its own: in a whole answer each is a call, whatever their indexes."""
    return [msgspec.structs.replace(part, index=place) for place, part in enumerate(parts)]


async def _nothing(upstream: Upstream, path: str, body: Json) -> Batches:
    """Answer max_tokens of 0, which servers refuse or ignore: one token is made and thrown away."""
    answer = await _posted(upstream, path, _unstreamed(body))
    counted = answer.usage.counted() if answer.usage else Usage()
    yield [Delta(finish_reason="length", usage=msgspec.structs.replace(counted, completion_tokens=0))]


async def _prompt(upstream: Upstream, path: str, body: Json, logprobs: int | None, text: str | None) -> Delta:
    """Get the prompt by a request of its own, since vLLM has no `prompt_logprobs` in streams. It costs one
    token, and fills the prefix cache for the request that follows."""
    extra: Json = {"prompt_logprobs": logprobs or 0}
    if text is None:
        extra["return_prompt_text"] = True
    limit = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    answer = await _posted(upstream, path, _unstreamed(body) | {limit: 1} | extra)
    return prompt_of(answer, text)


def _unstreamed(body: Json) -> Json:
    return {name: value for name, value in body.items() if name != "stream_options"} | {"stream": False}


def _raise_error(answer: Answer) -> None:
    if answer.error is not None:
        raise error_in_stream(answer.error)


class StreamReader:
    """A reader that turns a stream's bytes into deltas. The end of the choice is held back until its usage
    has come."""

    def __init__(self) -> None:
        self._splitter = EventSplitter()
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._ended = False
        self._calls: CallReader | None = None

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        for payload in self._splitter.feed(data):
            if payload == b"[DONE]":
                deltas += self.close()
            elif (delta := self._read(read_answer(payload))) is not None:
                deltas.append(delta)
        return deltas

    def close(self) -> list[Delta]:
        """Return the last delta, unless it has been given already."""
        if self._ended:
            return []
        if self._finish is None:
            raise Unavailable("The model's engine ended its answer too early.", retry_after_s=1)
        self._ended = True
        rest = self._calls.finish(cut_off=self._finish == "length") if self._calls else ()
        return [Delta(tool_calls=rest, finish_reason=self._finish, usage=self._usage)]

    def _read(self, chunk: Answer) -> Delta | None:
        _raise_error(chunk)
        if chunk.usage is not None:
            self._usage = chunk.usage.counted()
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        self._finish = finish_of(choice) or self._finish
        delta, parts = delta_of(choice), calls_of(choice)
        return self._with_calls(delta, parts) if parts else delta

    def _with_calls(self, delta: Delta | None, parts: Sequence[ToolCallPart]) -> Delta | None:
        self._calls = self._calls or CallReader()
        pieces = self._calls.read(parts)
        return msgspec.structs.replace(delta or Delta(), tool_calls=pieces) if delta or pieces else None
