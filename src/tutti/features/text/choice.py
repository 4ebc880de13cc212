"""One choice as it is being written: thoughts and tool calls are taken out of the text of the engine."""

from collections.abc import Sequence

import msgspec

from tutti.engines.answers import Delta, FinishReason, Token, ToolCall
from tutti.features.text.thinking import Thinking
from tutti.features.text.toolparse import ToolParser, new_call_id


class Choice:
    """`legacy`: the client knows functions, not tools. `parallel`: more than one call is welcome.

    Tokens stay with the text they belong to; where text is held back, they come with what it turns into.
    """

    def __init__(
        self,
        thinking: Thinking | None = None,
        tools: ToolParser | None = None,
        *,
        legacy: bool = False,
        parallel: bool = True,
    ) -> None:
        self._thinking = thinking
        self._tools = tools
        self._legacy = legacy
        self._parallel = parallel
        self._called = False
        self._begun = False
        self._engine_calls = 0
        self._tokens: list[Token] = []

    def read(self, delta: Delta) -> Sequence[Delta]:
        if self._thinking and self._thinking.idle:
            self._thinking = None
        if delta.finish_reason is None and not (delta.tool_calls or self._thinking or self._tools):
            return (delta,)
        if self._thinking and delta.finish_reason is not None and not self._begun:
            delta = msgspec.structs.replace(
                delta, text=self._thinking.mended(delta.text, cut_off=delta.finish_reason == "length")
            )
        self._begun = True
        pieces = self._pieces(delta)
        if delta.finish_reason is not None:
            pieces += self._rest(cut_off=delta.finish_reason == "length")
        return self._dressed(delta, pieces)

    def _pieces(self, delta: Delta) -> list[Delta]:
        pieces = [Delta(reasoning=delta.reasoning)] if delta.reasoning else []
        pieces += self._split(delta.text) if delta.text else []
        return pieces + self._calls(self._of_engine(delta.tool_calls))

    def _of_engine(self, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """Behind those found in the text."""
        if not calls:
            return calls
        before = self._tools.count if self._tools else 0
        self._engine_calls = max(self._engine_calls, calls[-1].index + 1)
        return [_moved(call, before) for call in calls] if before else calls

    def _split(self, text: str) -> list[Delta]:
        if not self._thinking:
            return self._content(text)
        pieces: list[Delta] = []
        for kind, passage in self._thinking.feed(text):
            pieces += [Delta(reasoning=passage)] if kind == "reasoning" else self._content(passage)
        return pieces

    def _content(self, text: str) -> list[Delta]:
        return self._parsed(self._tools.feed(text)) if self._tools else [Delta(text=text)]

    def _rest(self, *, cut_off: bool) -> list[Delta]:
        pieces: list[Delta] = []
        for kind, passage in self._thinking.finish() if self._thinking else ():
            pieces += [Delta(reasoning=passage)] if kind == "reasoning" else self._content(passage)
        return pieces + (self._parsed(self._tools.finish(cut_off=cut_off)) if self._tools else [])

    def _parsed(self, found: Sequence[str | ToolCall]) -> list[Delta]:
        pieces: list[Delta] = []
        for piece in found:
            pieces += (
                [Delta(text=piece)]
                if isinstance(piece, str)
                else self._calls([_moved(piece, self._engine_calls)])
            )
        return pieces

    def _calls(self, calls: Sequence[ToolCall]) -> list[Delta]:
        calls = [call for call in calls if call.index == 0 or (self._parallel and not self._legacy)]
        self._called = self._called or bool(calls)
        calls = [_with_id(call) for call in calls]
        return [Delta(tool_calls=tuple(calls))] if calls else []

    def _dressed(self, delta: Delta, pieces: list[Delta]) -> Sequence[Delta]:
        """The pieces with everything of `delta` that is not text: on the first or on the last of them."""
        self._tokens += delta.tokens
        ends = delta.finish_reason is not None
        if ends and pieces and pieces[-1].tool_calls:
            pieces.append(Delta())
        if not pieces:
            if not ends and delta.prompt is None:
                return ()
            pieces.append(Delta())
        if delta.prompt is not None:
            pieces[0] = msgspec.structs.replace(
                pieces[0], prompt=delta.prompt, prompt_tokens=delta.prompt_tokens
            )
        pieces[-1] = msgspec.structs.replace(
            pieces[-1],
            tokens=tuple(self._tokens),
            finish_reason=self._reason(delta.finish_reason),
            usage=delta.usage,
        )
        self._tokens = []
        return pieces

    def _reason(self, reason: FinishReason | None) -> FinishReason | None:
        if self._called and reason in ("stop", "eos", "tool_calls"):
            return "function_call" if self._legacy else "tool_calls"
        return reason


def _moved(call: ToolCall, by: int) -> ToolCall:
    return msgspec.structs.replace(call, index=call.index + by) if by else call


def _with_id(call: ToolCall) -> ToolCall:
    """The first piece of a call has its name, and must have an id."""
    return msgspec.structs.replace(call, id=new_call_id()) if call.name and not call.id else call
