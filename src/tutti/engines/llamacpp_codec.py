"""The dialect of llama.cpp's server.

Plain chats and forced tools are rendered by /apply-template and answered by the native /completion, which
gives token ids for nothing and takes grammars; what needs llama.cpp's own reading of the answer (tools in
auto, harmony, media) goes to /v1/chat/completions. The same seed gives the same text on an engine that works
on nothing else: beside other requests its sums are added up in another order.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec

from tutti.base.errors import Unavailable
from tutti.base.model import Model
from tutti.engines.answers import Delta, Embeddings, FinishReason, Scores, ToolCall, Usage
from tutti.engines.calls import ChatCall, CompletionCall
from tutti.engines.control import ESCAPE, splitter
from tutti.engines.llamacpp_answers import NativeReader
from tutti.engines.llamacpp_calls import (
    chat_body,
    fitting,
    has_media,
    native_body,
    needs_parser,
    with_adapter,
)
from tutti.engines.llamacpp_options import LlamaCppOptions
from tutti.engines.llamacpp_prompts import (
    Chat,
    Prompt,
    control_words,
    count_of,
    embedded,
    fitted,
    guarded,
    ids_of,
    joined,
    post,
    rendered,
    require_start,
    text_of,
    tokens_of,
    with_suffix,
)
from tutti.engines.llamacpp_room import require_room, texts_of
from tutti.engines.llamacpp_scores import Filler, scored
from tutti.engines.openai import StreamReader
from tutti.engines.openai_answers import (
    RerankAnswer,
    decode,
    embeddings_of,
)
from tutti.engines.upstream import Upstream

Json = dict[str, Any]
Batches = AsyncIterator[Sequence[Delta]]
Call = ChatCall | CompletionCall

_THINK = "<think>"
_THOUGHT = "\n</think>\n\n"
_HARMONY_ANSWER = "<|channel|>final<|message|>"


class Dialect:
    async def chat(self, upstream: Upstream, call: ChatCall) -> Batches:
        await require_room(partial(ids_of, upstream, parse_special=True), call, texts_of(call))
        chat = await guarded(upstream, call)
        if is_parsed := needs_parser(call, mentions=bool(chat.words)):
            chat = Chat(chat.escaped(), ())
        parts = [""] if has_media(call) else await rendered(upstream, chat)
        prompt = await joined(upstream, parts)
        first = await _prompt_of(upstream, call, prompt)
        if call.max_tokens == 0:
            yield [await _nothing(upstream, prompt, first)]
            return
        max_tokens = await fitted(upstream, call, prompt)
        if is_parsed:
            batches = _parsed(upstream, call, chat_body(chat.call, max_tokens))
        else:
            added, opened = _opened(call, parts[-1])
            first = msgspec.structs.replace(first, text=opened)
            prompt = await joined(upstream, [*parts[:-1], parts[-1] + added]) if added else prompt
            batches = _native(upstream, call, prompt, max_tokens)
        async for batch in _answered(call, first, batches):
            yield batch

    async def complete(self, upstream: Upstream, call: CompletionCall) -> Batches:
        if not call.prompt:
            await require_start(upstream, call)
        if isinstance(call.prompt, str):
            await require_room(partial(ids_of, upstream, parse_special=True), call, call.prompt)
        prompt = call.prompt if isinstance(call.prompt, str) else list(call.prompt)
        if call.suffix is not None:
            prompt = await with_suffix(upstream, call, prompt, call.suffix)
        first = await _prompt_of(upstream, call, prompt)
        if call.max_tokens == 0:
            yield [await _nothing(upstream, prompt, first)]
            return
        max_tokens = await fitted(upstream, call, prompt)
        batches = _native(upstream, call, prompt, max_tokens)
        async for batch in _answered(call, first, batches):
            yield batch

    async def embed(
        self, upstream: Upstream, model: Model, texts: Sequence[str | Sequence[int]]
    ) -> Embeddings:
        inputs = [await embedded(upstream, model, text) for text in texts]
        body = {"input": inputs, "encoding_format": "base64"}
        return embeddings_of(await post(upstream, "/v1/embeddings", body))

    async def rerank(
        self,
        upstream: Upstream,
        model: Model,  # noqa: ARG002 - the protocol's arguments
        query: str,
        documents: Sequence[str],
    ) -> Scores:
        """Score documents as the model does: a cross-encoder's scores are logits, of any sign."""
        texts = [query, *documents]
        query, *documents = map(splitter(await control_words(upstream, texts), ESCAPE), texts)
        body = {"query": query, "documents": documents}
        answer = decode(await post(upstream, "/v1/rerank", body), RerankAnswer)
        scores = {result.index: result.relevance_score for result in answer.results}
        counted = answer.usage.prompt_tokens or answer.usage.total_tokens
        return Scores([scores[index] for index in range(len(documents))], counted)


# --- prompts ----------------------------------------------------------------------------------------------


def _opened(call: ChatCall, prompt: str) -> tuple[str, str]:
    """Return the text to add to the prompt, and the text that the answer begins with: a `<think>` that the
    template opened. An answer that must have a form has no room for thoughts."""
    thinking = prompt.rstrip().endswith(_THINK)
    if not (call.is_forced or call.constraint is not None):
        return "", _THINK if thinking else ""
    if LlamaCppOptions.of(call.model).harmony:
        return _HARMONY_ANSWER, ""
    return _THOUGHT if thinking else "", ""


async def _prompt_of(upstream: Upstream, call: Call, prompt: Prompt) -> Delta:
    """Return the beginning of the answer: with echo, the prompt."""
    if not call.echo:
        return Delta()
    tokens = await tokens_of(upstream, prompt)
    if call.logprobs is not None:
        fitting(len(tokens), call)
        tokens = await scored(upstream, call, tokens)
    return Delta(prompt=await text_of(upstream, prompt), prompt_tokens=tokens)


# --- generation -------------------------------------------------------------------------------------------


async def _nothing(upstream: Upstream, prompt: Prompt, first: Delta) -> Delta:
    """Return the answer to max_tokens of 0, for which llama.cpp would generate a token all the same."""
    counted = len(first.prompt_tokens) or await count_of(upstream, prompt)
    return msgspec.structs.replace(first, finish_reason="length", usage=Usage(counted))


async def _native(upstream: Upstream, call: Call, prompt: Prompt, max_tokens: int | None) -> Batches:
    body = native_body(call, prompt, max_tokens)
    is_json = call.constraint is not None and call.constraint.kind != "regex"
    reader = NativeReader(call.logprobs, is_json=is_json)
    filler = None if call.logprobs is None else Filler(upstream, call, prompt)
    async for data in _data(upstream, call, "/completion", body):
        if batch := reader.feed(data):
            yield [await filler.filled(delta) for delta in batch] if filler else batch
    reader.close()


async def _parsed(upstream: Upstream, call: Call, body: Json) -> Batches:
    reader = StreamReader()
    async for data in _data(upstream, call, "/v1/chat/completions", body):
        if batch := reader.feed(data):
            yield batch
    if batch := reader.close():
        yield batch


async def _data(upstream: Upstream, call: Call, path: str, body: Json) -> AsyncIterator[bytes]:
    """Yield the bytes of the answer. llama.cpp always streams, but a caller that wants the whole answer need
    not wake up for each token."""
    data = msgspec.json.encode(with_adapter(body, call.model, upstream.adapter))
    if not call.stream:
        yield await upstream.post(path, data)
        return
    async for piece in upstream.stream(path, data):
        yield piece


def _answered(call: Call, first: Delta, batches: Batches) -> Batches:
    """Return the batches with their beginning, piece by piece or as one delta, as the call wants them."""
    if first.text or first.prompt is not None:
        batches = _beginning(first, batches)
    return batches if call.stream else _at_once(batches)


async def _at_once(batches: Batches) -> Batches:
    deltas = [delta async for batch in batches for delta in batch]
    if not deltas:
        raise Unavailable("The model's engine sent an empty answer.", retry_after_s=1)
    yield [_whole(deltas)]


def _whole(deltas: Sequence[Delta]) -> Delta:
    finishes: list[FinishReason] = [
        delta.finish_reason for delta in deltas if delta.finish_reason is not None
    ]
    return Delta(
        text="".join(delta.text for delta in deltas),
        reasoning="".join(delta.reasoning for delta in deltas),
        tool_calls=_whole_calls([call for delta in deltas for call in delta.tool_calls]),
        tokens=tuple(token for delta in deltas for token in delta.tokens),
        finish_reason=finishes[-1] if finishes else None,
        usage=next((delta.usage for delta in reversed(deltas) if delta.usage), None),
        prompt=deltas[0].prompt,
        prompt_tokens=deltas[0].prompt_tokens,
    )


def _whole_calls(pieces: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Join the pieces of each call. `id` and `name` come with the first piece of an index."""
    whole: dict[int, ToolCall] = {}
    for piece in pieces:
        call = whole.get(piece.index)
        whole[piece.index] = (
            msgspec.structs.replace(call, arguments=call.arguments + piece.arguments) if call else piece
        )
    return tuple(whole.values())


async def _beginning(first: Delta, batches: Batches) -> Batches:
    begun = False
    async for batch in batches:
        yield batch if begun else [_joined(first, batch[0]), *batch[1:]]
        begun = True


def _joined(first: Delta, delta: Delta) -> Delta:
    return msgspec.structs.replace(
        delta, text=first.text + delta.text, prompt=first.prompt, prompt_tokens=first.prompt_tokens
    )
