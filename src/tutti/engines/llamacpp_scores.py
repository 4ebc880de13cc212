"""Log probabilities of tokens that are there already. llama.cpp's server gives them only for tokens that it
generates, so it is made to generate these."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tutti.engines.answers import Delta, Token
from tutti.engines.calls import ChatCall, CompletionCall
from tutti.engines.llamacpp_answers import Native, NativeReader, Pieces, decoded_events, prompt_tokens
from tutti.engines.llamacpp_calls import with_adapter
from tutti.engines.openai_answers import decode
from tutti.engines.upstream import Upstream

Json = dict[str, Any]
Call = ChatCall | CompletionCall
Before = Sequence[str | int]
"""Texts and token ids that stand before the tokens."""

_RUN = 256
"""The number of tokens that one grammar forces."""
_LIKELY = 1000
"""The number of likely tokens to ask for. llama.cpp gives nothing for a token that is only a part of a
character, but it is among the likely ones."""
_GREEDY: Json = {"temperature": 0, "top_k": 1, "samplers": ["top_k"]}
_FIELDS = ("content", "stop_type", "tokens_predicted", "completion_probabilities")


async def scored(upstream: Upstream, call: Call, tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Return the tokens of a prompt with their log probabilities. Nothing predicts the first."""
    ids = [token.id or 0 for token in tokens]
    known = list(tokens[:1])
    while len(known) < len(ids):
        run = await _forced(upstream, call, ids[: len(known)], ids[len(known) :][:_RUN])
        for place in range(max(run, default=1)):
            at = len(known)
            found = run.get(place + 1) or await _likely(upstream, call, ids[:at], ids[at])
            known.append(msgspec.structs.replace(found, text=tokens[at].text, raw=tokens[at].raw))
    return tuple(known)


class Filler:
    """A filter that completes the tokens of an answer. llama.cpp gives only the last of those that make up a
    character."""

    def __init__(self, upstream: Upstream, call: Call, prompt: str | Sequence[int]) -> None:
        self._upstream = upstream
        self._call = call
        self._before: list[str | int] = [prompt] if isinstance(prompt, str) else list(prompt)
        self._counted = 0
        self._lost = False

    async def filled(self, delta: Delta) -> Delta:
        counted = delta.usage.completion_tokens if delta.usage else self._counted
        missing, self._counted = counted - self._counted - len(delta.tokens), counted
        tokens = delta.tokens
        if missing > 0 and tokens and not self._lost:
            tokens = await self._parts(tokens[0], missing) or tokens
            self._lost = tokens is delta.tokens
        self._before += [token.id or 0 for token in tokens]
        return msgspec.structs.replace(delta, tokens=tokens)

    async def _parts(self, last: Token, missing: int) -> tuple[Token, ...]:
        """Return the missing tokens with the last one: the tokeniser says which they were. Empty if it would
        have taken others than the model did."""
        parts = await _tokens(self._upstream, last.text)
        parts = parts[-missing - 1 :]
        if len(parts) != missing + 1 or parts[-1].id != last.id:
            return ()
        known: list[Token] = []
        for part in parts[:-1]:
            before = [*self._before, *(token.id or 0 for token in known)]
            found = await _likely(self._upstream, self._call, before, part.id or 0)
            known.append(msgspec.structs.replace(found, text=part.text, raw=part.raw))
        return (*known, msgspec.structs.replace(last, text=parts[-1].text, raw=parts[-1].raw))


async def _tokens(upstream: Upstream, text: str) -> tuple[Token, ...]:
    body = {"content": text, "add_special": False, "parse_special": False, "with_pieces": True}
    return prompt_tokens(decode(await upstream.post("/tokenize", msgspec.json.encode(body)), Pieces))


async def _forced(upstream: Upstream, call: Call, before: Before, ids: Sequence[int]) -> dict[int, Token]:
    """Return the forced tokens by their numbers in the run, from 1. It ends early at a token that ends an
    answer."""
    answers = await _generated(upstream, call, before, ids, max(1, call.logprobs or 0))
    return {
        answer.tokens_predicted: token
        for answer in answers
        for token in NativeReader.tokens_of(answer, call.logprobs or 0)
    }


async def _likely(upstream: Upstream, call: Call, before: Before, token_id: int) -> Token:
    """Return a token with its log probability. Another token is generated, one that is a whole text: the
    prompt's own may be none."""
    [answer, *_] = await _generated(upstream, call, before, [await _plain_id(upstream)], _LIKELY)
    [generated] = NativeReader.tokens_of(answer, _LIKELY)
    logprob = next((top.logprob for top in generated.top if top.id == token_id), None)
    return Token("", token_id, logprob, generated.top[: call.logprobs or 0])


async def _plain_id(upstream: Upstream) -> int:
    return (await _tokens(upstream, "a"))[-1].id or 0


async def _generated(
    upstream: Upstream, call: Call, before: Before, ids: Sequence[int], count: int
) -> list[Native]:
    grammar = "%llguidance {}\nstart: " + " ".join(f"<[{token_id}]>" for token_id in ids)
    body: Json = {
        "prompt": before if len(before) > 1 else before[0] if isinstance(before[0], str) else before,
        "n_predict": len(ids),
        "grammar": grammar,
        "n_probs": count,
        "stream": True,
    }
    body |= _GREEDY | {"response_fields": _FIELDS}
    data = msgspec.json.encode(with_adapter(body, call.model, upstream.adapter))
    return decoded_events(await upstream.post("/completion", data))
