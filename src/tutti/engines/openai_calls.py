"""Tool calls of servers that speak OpenAI's dialect, in the one way that clients can join them.

Some servers give all calls of an answer the same index or none, repeat the id and the name with every piece,
or leave out the arguments of a function that takes none. Clients join pieces by their index and their text.
"""

from collections.abc import Sequence

import msgspec

from tutti.engines.answers import ToolCall
from tutti.engines.openai_answers import Function, ToolCallPart


class _Call(msgspec.Struct):
    """A call so far. `named`: its name has been passed on, and its id with it."""

    index: int
    id: str
    named: bool = False
    arguments: list[str] = []


class CallReader:
    """A reader of the calls of one answer, whole or piece by piece."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[int | None, _Call] = {}
        """The last call at each index that the server has used."""

    def read(self, parts: Sequence[ToolCallPart]) -> tuple[ToolCall, ...]:
        return tuple(piece for part in parts if (piece := self._piece(part)))

    def finish(self, *, cut_off: bool) -> tuple[ToolCall, ...]:
        """Return the arguments of the calls that have none: an empty text is no JSON."""
        if cut_off:
            return ()
        empty = [call for call in self._calls if call.named and not "".join(call.arguments).strip()]
        return tuple(ToolCall(call.index, arguments="{}") for call in empty)

    def _piece(self, part: ToolCallPart) -> ToolCall | None:
        function = part.function or Function()
        call, name, arguments = self._call_of(part, function), function.name or "", function.written
        call.id = call.id or self._unused(part.id)
        call.arguments.append(arguments)
        if call.named:
            return ToolCall(call.index, arguments=arguments) if arguments else None
        if not name:
            return None
        call.named = True
        return ToolCall(call.index, call.id, name, "".join(call.arguments))

    def _call_of(self, part: ToolCallPart, function: Function) -> _Call:
        """Return the call that is being written at this index, unless the piece begins another."""
        call = self._at.get(part.index)
        if call is not None and self._begins(part, function, call):
            call = next((it for it in self._calls if part.id and it.id == part.id), None)
        if call is None:
            call = _Call(len(self._calls), self._unused(part.id))
            self._calls.append(call)
        self._at[part.index] = call
        return call

    def _unused(self, call_id: str | None) -> str:
        """Return the id, or an empty text if another call has it: the client needs one a call."""
        return "" if call_id is None or any(it.id == call_id for it in self._calls) else call_id

    def _begins(self, part: ToolCallPart, function: Function, call: _Call) -> bool:
        """Return whether a piece begins another call: by another id, or if it has none, by a name, unless
        that is repeated within the arguments."""
        if part.id and call.id:
            return part.id != call.id
        return bool(function.name) and call.named and _is_json("".join(call.arguments) or "{}")


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
