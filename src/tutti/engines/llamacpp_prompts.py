"""Prompts of llama.cpp's server: chats rendered by the model's template, as text or, where that would be read
otherwise than it is meant, as token ids."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any

import msgspec

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.engines.answers import Token
from tutti.engines.calls import ChatCall, CompletionCall
from tutti.engines.control import ESCAPE, changed, control_like, splitter, suspicious, texts_of
from tutti.engines.llamacpp_answers import Ids, Pieces, Rendered, Text, prompt_tokens
from tutti.engines.llamacpp_calls import fitting, surely_fits, template_body
from tutti.engines.llamacpp_options import context_of
from tutti.engines.llamacpp_room import first_tokens
from tutti.engines.openai_answers import decode
from tutti.engines.openai_requests import no_suffix
from tutti.engines.upstream import Refusal, Upstream

Json = dict[str, Any]
Prompt = str | list[int]


@dataclass(frozen=True)
class Chat:
    """A chat for its template. `words` are the control tokens that its texts mention; they are still in
    them."""

    call: ChatCall
    words: Collection[str]

    def escaped(self) -> ChatCall:
        """Return the call with these words escaped, for requests that llama.cpp renders and tokenises by
        itself."""
        return changed(self.call, splitter(self.words, ESCAPE))


async def guarded(upstream: Upstream, call: ChatCall) -> Chat:
    """Return the chat with escapes for the markup that the template writes itself but the tokeniser has no
    token for: it is letters wherever it stands, so in the client's texts it is escaped."""
    texts = texts_of(call)
    if not suspicious(texts):
        return Chat(call, ())
    words = await control_words(upstream, texts)
    letters = await _template_words(upstream, call, control_like("\n".join(texts)) - words)
    return Chat(changed(call, splitter(letters, ESCAPE)), words)


async def control_words(upstream: Upstream, texts: Sequence[str]) -> set[str]:
    """Return the control tokens that the texts mention: those that the tokeniser makes one token of only
    where it looks for them. The second look leaves out what was only cut differently beside one."""
    found = await _only_special(upstream, "\n".join(texts)) if suspicious(texts) else set[str]()
    return found and found & await _only_special(upstream, "\n".join(sorted(found)))


async def _only_special(upstream: Upstream, text: str) -> set[str]:
    special = await _pieces(upstream, text, parse_special=True)
    return special - await _pieces(upstream, text, parse_special=False)


async def _pieces(upstream: Upstream, text: str, *, parse_special: bool) -> set[str]:
    body = {"content": text, "add_special": False, "parse_special": parse_special, "with_pieces": True}
    pieces = decode(await post(upstream, "/tokenize", body), Pieces).tokens
    return {piece.piece for piece in pieces if isinstance(piece.piece, str)}


async def _template_words(upstream: Upstream, call: ChatCall, words: set[str]) -> set[str]:
    """Return those of the words that the template writes around texts without any."""
    if not words:
        return words
    blanked = changed(call, lambda text: "x" if suspicious([text]) else text)
    [blank] = await rendered(upstream, Chat(blanked, ()))
    return words & control_like(blank)


async def rendered(upstream: Upstream, chat: Chat) -> list[str]:
    """Return the prompt in the parts that are to be tokenised one by one: it is cut within each control token
    that is not the template's."""
    mark = token_hex(8)  # letters and digits, which templates leave as they are
    call = changed(chat.call, splitter(chat.words, mark)) if chat.words else chat.call
    prompt = decode(await post(upstream, "/apply-template", template_body(call)), Rendered).prompt
    return prompt.split(mark)


async def joined(upstream: Upstream, parts: Sequence[str]) -> Prompt:
    return parts[0] if len(parts) == 1 else await ids_of(upstream, parts, parse_special=True)


async def text_of(upstream: Upstream, prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return decode(await post(upstream, "/detokenize", {"tokens": prompt}), Text).content


async def tokens_of(upstream: Upstream, prompt: Prompt) -> tuple[Token, ...]:
    body = {"content": prompt, "add_special": True, "parse_special": True, "with_pieces": True}
    return prompt_tokens(decode(await post(upstream, "/tokenize", body), Pieces))


async def ids_of(upstream: Upstream, text: str | Sequence[str], *, parse_special: bool) -> list[int]:
    body = {"content": text, "add_special": True, "parse_special": parse_special}
    return decode(await post(upstream, "/tokenize", body), Ids).tokens


async def count_of(upstream: Upstream, prompt: Prompt) -> int:
    return len(prompt if isinstance(prompt, list) else await ids_of(upstream, prompt, parse_special=True))


async def fitted(upstream: Upstream, call: ChatCall | CompletionCall, prompt: Prompt) -> int | None:
    """Return the max_tokens that fit. Prompts too long by themselves are left to llama.cpp to refuse."""
    size = len(prompt) if isinstance(prompt, list) else len(prompt.encode())
    if call.max_tokens is None or surely_fits(size, call):
        return call.max_tokens
    return fitting(await count_of(upstream, prompt), call)


async def with_suffix(upstream: Upstream, call: CompletionCall, prompt: Prompt, suffix: str) -> Prompt:
    """Return the prompt from which the model fills in the middle. llama.cpp knows its form, but would cut
    long texts without a warning: so it gets two marks instead of them, and gives the form around the
    marks."""
    before, after = token_hex(8), token_hex(8)
    body = {"input_prefix": before, "input_suffix": after, "n_predict": 1, "response_fields": ["prompt"]}
    try:
        form = decode(await post(upstream, "/infill", body), Rendered).prompt
    except Refusal as refusal:
        if refusal.status == 501:
            raise no_suffix(call.model) from refusal
        raise
    _, _, form = form.rpartition("filename\n")  # the name of a file that there is not
    texts = {before: await text_of(upstream, prompt), after: suffix}
    words = await control_words(upstream, list(texts.values()))
    halve = splitter(words, mark := token_hex(8))
    for place, text in texts.items():
        form = form.replace(place, halve(text))
    return await joined(upstream, form.split(mark))


async def require_start(upstream: Upstream, call: CompletionCall) -> None:
    """Raise InvalidRequest unless the model can go on from an empty prompt: it can where its tokeniser puts a
    token before every text."""
    if not await ids_of(upstream, "", parse_special=True):
        raise InvalidRequest(
            f"`prompt` is empty, and {call.model.name} needs at least one token to go on from.",
            param="prompt",
        )


async def embedded(upstream: Upstream, model: Model, text: str | Sequence[int]) -> str | list[int]:
    """Return the text as llama.cpp is to embed it: as ids where it mentions control tokens, and cut to its
    first tokens and its last, which may be a special one, where it is longer than the context."""
    context = context_of(model)
    if isinstance(text, str) and len(text.encode()) + 4 < context and not suspicious([text]):
        return text
    count = partial(ids_of, upstream, parse_special=False)
    ids = await first_tokens(count, text, context) if isinstance(text, str) else text
    return list(ids) if len(ids) < context else [*ids[: context - 2], ids[-1]]


async def post(upstream: Upstream, path: str, body: Json) -> bytes:
    return await upstream.post(path, msgspec.json.encode(body))
