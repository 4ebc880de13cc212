"""What a client asks to be enforced: decided before an engine sees it, looked at again once it is written.

The one place for chats, completions, forced tools and batches.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from tutti.base.errors import InternalError
from tutti.dispatch.grammars import Grammars, Make, Part
from tutti.engines.calls import ChatCall, CompletionCall, Constraint
from tutti.features.text.bodies import Collected
from tutti.features.text.schemas import ChatCompletionRequest, Generation, ResponseFormatJsonSchema
from tutti.features.text.service import Batch

_ANY_CONTEXT = 131_072
"""Tokens, of a model whose context is not known."""
_Call = TypeVar("_Call", ChatCall, CompletionCall)


@dataclass(frozen=True)
class Keeper:
    """The last guard: looks at finished texts. `constraint` is None where nothing is enforced."""

    grammars: Grammars
    project_id: str
    constraint: Constraint | None
    stops: bool
    """The client has words that end the text, whatever it lacks then."""
    warnings: Sequence[str]

    async def kept(self, batches: AsyncGenerator[Batch, None], choices: int) -> AsyncGenerator[Batch, None]:
        """The same batches. Raises InternalError in place of the end of a text that breaks the constraint."""
        said = [Collected() for _ in range(choices)]
        async with aclosing(batches):
            async for batch in batches:
                for index, delta in batch:
                    said[index].add(delta)
                    if delta.finish_reason is not None:
                        await self._check(said[index])
                yield batch

    async def _check(self, said: Collected) -> None:
        """A text that was cut off cannot be judged."""
        constraint = self.constraint
        if constraint is None or said.finish_reason in self._cut():
            return
        for text in self._texts(said, constraint):
            found = await self.grammars.violation(
                text, constraint.schema, constraint.pattern, self.project_id
            )
            if found:
                message = f"The model's engine did not enforce what was asked for: {found}."
                raise InternalError(message, code="not_enforced")

    def _cut(self) -> Sequence[str]:
        return ("length", "stop") if self.stops else ("length",)

    def _texts(self, said: Collected, constraint: Constraint) -> Sequence[str]:
        if not constraint.calls:
            return [] if said.calls else [said.text]
        return [_call_text(call.name, call.arguments) for call in said.calls] or [said.text]


async def enforced(
    grammars: Grammars, body: Generation, calls: list[_Call], project_id: str
) -> tuple[list[_Call], Keeper]:
    """The calls as engines are to get them. Raises InvalidRequest for what cannot be enforced."""
    call, constraint = calls[0], calls[0].constraint
    warnings: Sequence[str] = ()
    if (wanted := _wanted(body, call)) is not None:
        made = await grammars.make(wanted, project_id)
        warnings = [f"Not enforced: {it}." for it in made.left_out]
        constraint = Constraint(
            kind="regex" if wanted.pattern is not None else _json_kind(constraint),
            schema=made.schema,
            pattern=wanted.pattern,
            grammar=made.grammar,
            calls=isinstance(call, ChatCall) and call.is_forced,
        )
        calls = [msgspec.structs.replace(it, constraint=constraint) for it in calls]
    return calls, Keeper(grammars, project_id, constraint, bool(call.stop), warnings)


def _json_kind(asked: Constraint | None) -> Literal["json_object", "json_schema"]:
    return "json_object" if asked is not None and asked.kind == "json_object" else "json_schema"


def _wanted(body: Generation, call: ChatCall | CompletionCall) -> Make | None:
    tokens = _most_tokens(call)
    if isinstance(call, ChatCall) and call.is_forced and isinstance(body, ChatCompletionRequest):
        return Make(tokens, _functions(body, call, aside=False))
    asked = call.constraint
    if asked is None:
        return None
    if asked.pattern is not None:
        return Make(tokens, pattern=asked.pattern, param="response_format.pattern")
    answer = Part("response_format", asked.schema or {"type": "object"}, strict=_is_strict(body))
    if not (isinstance(call, ChatCall) and call.tools and isinstance(body, ChatCompletionRequest)):
        return Make(tokens, (answer,))
    return Make(tokens, (answer, *_functions(body, call, aside=True)))


def _functions(body: ChatCompletionRequest, call: ChatCall, *, aside: bool) -> tuple[Part, ...]:
    """The functions that may be called, with the names of their fields in the request."""
    choice = call.tool_choice
    offered = [
        *((f"tools.{index}.function", tool.function) for index, tool in enumerate(body.tools or ())),
        *((f"functions.{index}", function) for index, function in enumerate(body.functions or ())),
    ]
    return tuple(
        Part(f"{field}.parameters", function.parameters or {}, function.name, bool(function.strict), aside)
        for field, function in offered
        if isinstance(choice, str) or function.name == choice["name"]
    )


def _is_strict(body: Generation) -> bool:
    wanted = body.response_format
    given = wanted.json_schema if isinstance(wanted, ResponseFormatJsonSchema) else None
    return given is not None and bool(given.strict)


def _most_tokens(call: ChatCall | CompletionCall) -> int:
    """Of the answer, as a power of two, so that what was made for one request serves for others like it."""
    context = call.model.context_length or _ANY_CONTEXT
    most = min(call.max_tokens or context, context)
    return 1 << (most - 1).bit_length()


def _call_text(name: str, arguments: str) -> str:
    """A call as the schema of calls has it."""
    return f'{{"name": {msgspec.json.encode(name).decode()}, "arguments": {arguments or "{}"}}}'
