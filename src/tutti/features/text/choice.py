"""Reads one choice as an engine writes it: takes thoughts and tool calls out of the text.

What goes in are the engine's deltas, whose text may have `<think>` tags and tool calls in it. What comes out
are deltas whose fields `text`, `reasoning` and `tool_calls` each have their own part. Tokens stay with the
text they belong to: where text is held back, because it may become a tag or a call, its tokens are held back
too and come with what the text turns into. This runs for every token: plain text passes untouched as soon as
nothing can be found in it any more.
"""

from collections.abc import Sequence

import msgspec

from tutti.engines.answers import Delta, FinishReason, Token, ToolCall
from tutti.features.text.thinking import Thinking
from tutti.features.text.toolparse import ToolParser, new_call_id


class ChoiceReader:
    """Reads the deltas of one choice.

    `thinking` and `tools` find thoughts and tool calls in the text; None looks for none. With `legacy`, the
    client knows functions, not tools, and gets one call. Without `parallel`, it also gets only one.
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
        """Return what can be passed on after this delta: none, one or several."""
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
        return self._completed(delta, pieces)

    def _pieces(self, delta: Delta) -> list[Delta]:
        pieces = [Delta(reasoning=delta.reasoning)] if delta.reasoning else []
        pieces += self._split(delta.text) if delta.text else []
        return pieces + self._calls(self._renumbered(delta.tool_calls))

    def _renumbered(self, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """Number the calls that the engine found after those that were found in the text."""
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
        """Return what was held back when the text ends."""
        pieces: list[Delta] = []
        for kind, passage in self._thinking.finish() if self._thinking else ():
            pieces += [Delta(reasoning=passage)] if kind == "reasoning" else self._content(passage)
        return pieces + (self._parsed(self._tools.finish(cut_off=cut_off)) if self._tools else [])

    def _parsed(self, found: Sequence[str | ToolCall]) -> list[Delta]:
        """Turn texts and calls that the tool parser found into deltas."""
        pieces: list[Delta] = []
        for piece in found:
            pieces += (
                [Delta(text=piece)]
                if isinstance(piece, str)
                else self._calls([_moved(piece, self._engine_calls)])
            )
        return pieces

    def _calls(self, calls: Sequence[ToolCall]) -> list[Delta]:
        """Turn tool calls into a delta, without those that the client does not want."""
        calls = [call for call in calls if call.index == 0 or (self._parallel and not self._legacy)]
        self._called = self._called or bool(calls)
        calls = [_with_id(call) for call in calls]
        return [Delta(tool_calls=tuple(calls))] if calls else []

    def _completed(self, delta: Delta, pieces: list[Delta]) -> Sequence[Delta]:
        """Add to the pieces all of `delta` that is not text.

        The echoed prompt goes on the first piece; tokens, usage and the finish reason go on the last one. If
        there is no piece, the tokens wait for the next one, unless the delta ends the choice or has the
        prompt.
        """
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
    """Return a call with an index that is higher by `by`."""
    return msgspec.structs.replace(call, index=call.index + by) if by else call


def _with_id(call: ToolCall) -> ToolCall:
    """Give the first piece of a call, which has its name, an id if the engine gave none."""
    return msgspec.structs.replace(call, id=new_call_id()) if call.name and not call.id else call
