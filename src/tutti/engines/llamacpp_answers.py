"""Answers of llama.cpp's server: those of its native /completion, and of the small requests around it."""

import re
from codecs import getincrementaldecoder

import msgspec

from tutti.base.errors import (
    ContextTooLong,
    InternalError,
    InvalidRequest,
    TooLarge,
    TuttiError,
    Unavailable,
)
from tutti.engines.answers import Delta, FinishReason, Token, TopToken, Usage
from tutti.engines.sse import EventSplitter
from tutti.engines.upstream import Refusal

_FINISH: dict[str, FinishReason] = {"eos": "eos", "limit": "length", "word": "stop"}
_JSON_STARTS = '{["-0123456789 \n'
_JSON_WORDS = ("true", "false", "null")
_TEMPLATE_REFUSES = re.compile(r"jinja|template", re.I)


class Top(msgspec.Struct):
    id: int
    token: str
    logprob: float
    bytes: list[int] = []


class Probability(Top):
    top_logprobs: list[Top] = []


class ErrorBody(msgspec.Struct):
    message: str = ""
    type: str = ""
    code: int = 500
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class ErrorAnswer(msgspec.Struct):
    error: ErrorBody


class Native(msgspec.Struct):
    """A chunk of /completion, or the last of them (`response_fields` flattens names)."""

    content: str = ""
    tokens: list[int] = []
    completion_probabilities: list[Probability] = []
    stop_type: str | None = None
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    cached: int = msgspec.field(default=0, name="timings/cache_n")
    error: ErrorBody | None = None


class Rendered(msgspec.Struct):
    prompt: str


class Text(msgspec.Struct):
    content: str


class Piece(msgspec.Struct):
    id: int
    piece: str | list[int]


class Pieces(msgspec.Struct):
    tokens: list[Piece]


class Ids(msgspec.Struct):
    tokens: list[int]


_native = msgspec.json.Decoder(Native)


class NativeReader:
    """A reader that turns /completion's stream into deltas. `top` is the number of likely tokens to give with
    each token, None for no log-probabilities. `is_json`: the call enforces a schema, so any other text is an
    error."""

    def __init__(self, top: int | None, *, is_json: bool) -> None:
        self._splitter = EventSplitter()
        self._top = top
        self._unproved_json = is_json
        self._ended = False

    def feed(self, data: bytes) -> list[Delta]:
        return [self._delta(payload) for payload in self._splitter.feed(data)]

    def close(self) -> None:
        if not self._ended:
            raise Unavailable("The model's engine ended its answer too early.", retry_after_s=1)

    def _delta(self, payload: bytes) -> Delta:
        chunk = _decoded(payload)
        if self._unproved_json:
            self._prove_json(chunk)
        tokens = self._tokens(chunk)
        usage = Usage(chunk.tokens_evaluated, chunk.tokens_predicted, chunk.cached)
        if chunk.stop_type is None:
            return Delta(text=chunk.content, tokens=tokens, usage=usage)
        self._ended = True
        finish = _FINISH.get(chunk.stop_type, "stop")
        return Delta(text=chunk.content, tokens=tokens, finish_reason=finish, usage=usage)

    def _tokens(self, chunk: Native) -> tuple[Token, ...]:
        """Return the tokens of a chunk. llama.cpp gives only the last of several tokens that make up one
        character."""
        if self._top is not None:
            return self.tokens_of(chunk, self._top)
        return (Token(chunk.content, chunk.tokens[0]),) if len(chunk.tokens) == 1 else ()

    @staticmethod
    def tokens_of(chunk: Native, top: int) -> tuple[Token, ...]:
        return tuple(_token(entry, top) for entry in chunk.completion_probabilities)

    def _prove_json(self, chunk: Native) -> None:
        """Raise InvalidRequest unless the text begins as JSON does. llama.cpp only logs it when it could not
        compile a schema, and generates without one."""
        if _begins_json(chunk.content) and (chunk.content or chunk.stop_type != "eos"):
            self._unproved_json = not chunk.content
            return
        raise InvalidRequest(
            "The JSON schema cannot be enforced: its parts contradict one another, or are not supported.",
            param="response_format",
        )


def _begins_json(text: str) -> bool:
    return text[:1] in _JSON_STARTS or any(text[: len(word)] == word[: len(text)] for word in _JSON_WORDS)


def _decoded(payload: bytes) -> Native:
    try:
        chunk = _native.decode(payload)
    except msgspec.DecodeError as error:
        raise Unavailable("The model's engine sent an answer that cannot be read.") from error
    if chunk.error is not None:
        raise _error(chunk.error.code, chunk.error)
    return chunk


def _token(entry: Probability, top: int) -> Token:
    tops = tuple(
        TopToken(other.token, other.logprob, other.id, raw_of(other.bytes))
        for other in entry.top_logprobs[:top]
    )
    return Token(entry.token, entry.id, entry.logprob, tops)


def raw_of(given: list[int]) -> bytes | None:
    """Return the bytes of a token that is no text by itself, else None."""
    try:
        bytes(given).decode()
    except UnicodeDecodeError:
        return bytes(given)
    return None


def decoded_events(data: bytes) -> list[Native]:
    return [_decoded(payload) for payload in EventSplitter().feed(data)]


def prompt_tokens(pieces: Pieces) -> tuple[Token, ...]:
    """Return the tokens of a prompt. A piece that is no text by itself (a part of a character) comes as its
    bytes; the last piece of a character has its text."""
    reader = getincrementaldecoder("utf-8")(errors="replace")
    tokens: list[Token] = []
    for piece in pieces.tokens:
        if isinstance(piece.piece, str):
            tokens.append(Token(reader.decode(b"", final=True) + piece.piece, piece.id))
            reader.reset()
        else:
            raw = bytes(piece.piece)
            tokens.append(Token(reader.decode(raw), piece.id, raw=raw))
    return tuple(tokens)


def error_of(refusal: Refusal) -> TuttiError:
    try:
        body = msgspec.json.decode(refusal.body, type=ErrorAnswer).error
    except msgspec.DecodeError:
        body = ErrorBody()
    return _error(refusal.status, body)


def _error(status: int, body: ErrorBody) -> TuttiError:
    """Translate an error. Messages about the request are passed on; others are not, since they could tell
    where the server runs."""
    if body.type == "exceed_context_size_error":
        return ContextTooLong(
            f"the request has {body.n_prompt_tokens} tokens in the prompt.", context=body.n_ctx
        )
    if status in (400, 422) or body.type in ("invalid_request_error", "not_supported_error"):
        return InvalidRequest(body.message or "The model's engine did not accept the request.")
    if status == 413:
        return TooLarge("The request is too large for the model's engine.")
    if "input is not supported" in body.message:
        return InvalidRequest(
            f"This model cannot take it: {body.message.partition(' - ')[0]}.", param="messages"
        )
    if status == 500 and _TEMPLATE_REFUSES.search(body.message):
        return InvalidRequest(
            f"The model's chat template refuses the messages: {body.message}", param="messages"
        )
    if status == 503:
        return Unavailable("The model is still loading.", retry_after_s=2)
    if "Context size" in body.message:
        return Unavailable("The model's engine has no room for so many long requests.", retry_after_s=2)
    return InternalError("The model's engine failed on this request.")
