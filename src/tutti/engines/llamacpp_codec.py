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

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.base.model import Model
from tutti.engines.base import (
    ChatCall,
    CompletionCall,
    Delta,
    Embeddings,
    FinishReason,
    Scores,
    Token,
    ToolCall,
    Upstream,
    Usage,
)
from tutti.engines.llamacpp_answers import Ids, NativeReader, Pieces, Prompt, prompt_tokens
from tutti.engines.llamacpp_calls import (
    chat_body,
    context_of,
    fitting,
    has_media,
    is_harmony,
    native_body,
    needs_parser,
    surely_fits,
    template_body,
    with_adapter,
)
from tutti.engines.llamacpp_room import first_tokens, require_room, texts_of
from tutti.engines.openai import StreamReader
from tutti.engines.openai_answers import (
    RerankAnswer,
    decode,
    embeddings_of,
)

Json = dict[str, Any]
Batches = AsyncIterator[Sequence[Delta]]
Call = ChatCall | CompletionCall

_THINK = "<think>"
_THOUGHT = "\n</think>\n\n"
_HARMONY_ANSWER = "<|channel|>final<|message|>"


class Dialect:
    async def chat(self, upstream: Upstream, call: ChatCall) -> Batches:
        await _require_room(upstream, call, texts_of(call))
        prompt = "" if has_media(call) else await _rendered(upstream, call)
        first = await _prompt_of(upstream, call, prompt)
        if call.max_tokens == 0:
            yield [await _nothing(upstream, prompt, first)]
            return
        max_tokens = await _fitted(upstream, call, prompt)
        if needs_parser(call):
            batches = _parsed(upstream, call, chat_body(call, max_tokens))
        else:
            prompt, opened = _opened(call, prompt)
            first = msgspec.structs.replace(first, text=opened)
            batches = _native(upstream, call, prompt, max_tokens)
        async for batch in _answered(call, first, batches):
            yield batch

    async def complete(self, upstream: Upstream, call: CompletionCall) -> Batches:
        if not call.prompt:
            await _require_start(upstream, call)
        await _require_room(upstream, call, call.prompt)
        first = await _prompt_of(upstream, call, call.prompt)
        if call.max_tokens == 0:
            yield [await _nothing(upstream, call.prompt, first)]
            return
        max_tokens = await _fitted(upstream, call, call.prompt)
        batches = _native(upstream, call, call.prompt, max_tokens)
        async for batch in _answered(call, first, batches):
            yield batch

    async def embed(self, upstream: Upstream, model: Model, texts: Sequence[str]) -> Embeddings:
        inputs = [await _cut(upstream, model, text) for text in texts]
        body = {"input": inputs, "encoding_format": "base64"}
        return embeddings_of(await _post(upstream, "/v1/embeddings", body))

    async def rerank(
        self,
        upstream: Upstream,
        model: Model,  # noqa: ARG002 - the protocol's arguments
        query: str,
        documents: Sequence[str],
    ) -> Scores:
        """Scores as the model gives them: a cross-encoder's are logits, of any sign."""
        body = {"query": query, "documents": list(documents)}
        answer = decode(await _post(upstream, "/v1/rerank", body), RerankAnswer)
        scores = {result.index: result.relevance_score for result in answer.results}
        counted = answer.usage.prompt_tokens or answer.usage.total_tokens
        return Scores([scores[index] for index in range(len(documents))], counted)


# --- prompts ----------------------------------------------------------------------------------------------


async def _rendered(upstream: Upstream, call: ChatCall) -> str:
    return decode(await _post(upstream, "/apply-template", template_body(call)), Prompt).prompt


def _opened(call: ChatCall, prompt: str) -> tuple[str, str]:
    """The prompt to complete, and what the answer begins with: a `<think>` that the template has opened. An
    answer that must have a form has no room for thoughts."""
    thinking = prompt.rstrip().endswith(_THINK)
    if not (call.is_forced or call.constraint is not None):
        return prompt, _THINK if thinking else ""
    if is_harmony(call.model):
        return prompt + _HARMONY_ANSWER, ""
    return prompt + _THOUGHT if thinking else prompt, ""


async def _prompt_of(upstream: Upstream, call: Call, prompt: str) -> Delta:
    """The beginning of the answer: with echo, the prompt. llama.cpp has no log-probabilities of it."""
    if not call.echo:
        return Delta()
    return Delta(prompt=prompt, prompt_tokens=await _tokens(upstream, prompt))


async def _tokens(upstream: Upstream, prompt: str) -> tuple[Token, ...]:
    body = {"content": prompt, "add_special": True, "parse_special": True, "with_pieces": True}
    return prompt_tokens(decode(await _post(upstream, "/tokenize", body), Pieces))


async def _ids(upstream: Upstream, text: str, *, parse_special: bool) -> list[int]:
    body = {"content": text, "add_special": True, "parse_special": parse_special}
    return decode(await _post(upstream, "/tokenize", body), Ids).tokens


async def _fitted(upstream: Upstream, call: Call, prompt: str) -> int | None:
    """max_tokens as it fits. Prompts too long by themselves are left to llama.cpp to refuse."""
    if call.max_tokens is None or surely_fits(len(prompt.encode()), call):
        return call.max_tokens
    return fitting(len(await _ids(upstream, prompt, parse_special=True)), call)


async def _require_room(upstream: Upstream, call: Call, text: str) -> None:
    await require_room(partial(_ids, upstream, parse_special=True), call, text)


async def _require_start(upstream: Upstream, call: CompletionCall) -> None:
    """From an empty prompt a model goes on where its tokeniser puts a token before every text."""
    if not await _ids(upstream, call.prompt, parse_special=True):
        raise InvalidRequest(
            f"`prompt` is empty, and {call.model.name} needs at least one token to go on from.",
            param="prompt",
        )


async def _cut(upstream: Upstream, model: Model, text: str) -> str | list[int]:
    """Text that is longer than the context as its first tokens and its last, which may be a special one."""
    context = context_of(model)
    if len(text.encode()) + 4 < context:
        return text
    ids = await first_tokens(partial(_ids, upstream, parse_special=False), text, context)
    return text if len(ids) < context else [*ids[: context - 2], ids[-1]]


# --- generation -------------------------------------------------------------------------------------------


async def _nothing(upstream: Upstream, prompt: str, first: Delta) -> Delta:
    """max_tokens of 0: llama.cpp would generate a token all the same."""
    counted = len(first.prompt_tokens) or len(await _ids(upstream, prompt, parse_special=True))
    return msgspec.structs.replace(first, finish_reason="length", usage=Usage(counted))


async def _native(upstream: Upstream, call: Call, prompt: str, max_tokens: int | None) -> Batches:
    body = native_body(call, prompt, max_tokens)
    reader = NativeReader(
        call.logprobs, is_json=call.constraint is not None and call.constraint.kind != "regex"
    )
    async for data in _data(upstream, call, "/completion", body):
        if batch := reader.feed(data):
            yield batch
    reader.close()


async def _parsed(upstream: Upstream, call: Call, body: Json) -> Batches:
    reader = StreamReader()
    async for data in _data(upstream, call, "/v1/chat/completions", body):
        if batch := reader.feed(data):
            yield batch
    if batch := reader.close():
        yield batch


async def _data(upstream: Upstream, call: Call, path: str, body: Json) -> AsyncIterator[bytes]:
    """llama.cpp always streams, but who wants the whole answer need not wake up for each token."""
    data = msgspec.json.encode(with_adapter(body, call.model, upstream.adapter))
    if not call.stream:
        yield await upstream.post(path, data)
        return
    async for piece in upstream.stream(path, data):
        yield piece


def _answered(call: Call, first: Delta, batches: Batches) -> Batches:
    """With its beginning, and as the call wants it: piece by piece, or as one delta."""
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
    """`id` and `name` come with the first piece of an index."""
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


async def _post(upstream: Upstream, path: str, body: Json) -> bytes:
    return await upstream.post(path, msgspec.json.encode(body))
