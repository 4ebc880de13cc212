"""Enforces what a client asks of the form of an answer: a JSON schema, a regular expression, a tool call.

It does so twice. `enforced` takes a request's calls before an engine sees them and gives each its constraint,
with the grammar that was compiled from it; a request that cannot be enforced ends there with a 400. When the
engine has written a choice, `ConstraintCheck` compares the text with the same schema or pattern: an engine
that did not keep to it is an error of ours, a 500 with the code `not_enforced`.

This is the one place for chats, completions, forced tools and batches.
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
from tutti.features.text.calls import TextCall
from tutti.features.text.generate import IndexedDeltas
from tutti.features.text.schemas import ChatCompletionRequest, Generation, ResponseFormatJsonSchema

_ANY_CONTEXT = 131_072
"""The tokens that an answer may have if the model's context is not known."""
_Call = TypeVar("_Call", ChatCall, CompletionCall)


@dataclass(frozen=True)
class ConstraintCheck:
    """Checks finished choices against the constraint of their request."""

    grammars: Grammars
    project_id: str
    constraint: Constraint | None
    """None where nothing is enforced."""
    stops: bool
    """True if the client named words that end the text: then a text that they end may lack anything."""
    warnings: Sequence[str]
    """The parts of the schema that are not enforced."""

    async def checked(
        self, batches: AsyncGenerator[IndexedDeltas, None], choices: int
    ) -> AsyncGenerator[IndexedDeltas, None]:
        """Yield the same batches. Raise InternalError in place of the end of a choice that breaks the
        constraint."""
        collected = [Collected() for _ in range(choices)]
        async with aclosing(batches):
            async for batch in batches:
                for index, delta in batch:
                    collected[index].add(delta)
                    if delta.finish_reason is not None:
                        await self._check(collected[index])
                yield batch

    async def _check(self, choice: Collected) -> None:
        """Raise InternalError if a choice breaks the constraint. One that was cut off cannot be judged."""
        constraint = self.constraint
        if constraint is None or choice.finish_reason in self._reasons_of_a_cut():
            return
        for text in self._texts_to_check(choice, constraint):
            found = await self.grammars.violation(
                text, constraint.schema, constraint.pattern, self.project_id
            )
            if found:
                message = f"The model's engine did not enforce what was asked for: {found}."
                raise InternalError(message, code="not_enforced")

    def _reasons_of_a_cut(self) -> Sequence[str]:
        return ("length", "stop") if self.stops else ("length",)

    def _texts_to_check(self, choice: Collected, constraint: Constraint) -> Sequence[str]:
        if not constraint.calls:
            return [] if choice.calls else [choice.text]
        return [_tool_call_text(call.name, call.arguments) for call in choice.calls] or [choice.text]


async def enforced(
    grammars: Grammars, body: Generation, calls: list[_Call], project_id: str
) -> tuple[list[_Call], ConstraintCheck]:
    """Return the calls with their constraint, and the check of what engines answer to them.

    Raises InvalidRequest for what cannot be enforced.
    """
    call, constraint = calls[0], calls[0].constraint
    warnings: Sequence[str] = ()
    if (wanted := _wanted_grammar(body, call)) is not None:
        made = await grammars.make(wanted, project_id)
        warnings = [f"Not enforced: {part}." for part in made.left_out]
        constraint = Constraint(
            kind="regex" if wanted.pattern is not None else _json_kind(constraint),
            schema=made.schema,
            pattern=wanted.pattern,
            grammar=made.grammar,
            calls=isinstance(call, ChatCall) and call.is_forced,
        )
        calls = [msgspec.structs.replace(each, constraint=constraint) for each in calls]
    return calls, ConstraintCheck(grammars, project_id, constraint, bool(call.stop), warnings)


def _json_kind(constraint: Constraint | None) -> Literal["json_object", "json_schema"]:
    return "json_object" if constraint is not None and constraint.kind == "json_object" else "json_schema"


def _wanted_grammar(body: Generation, call: TextCall) -> Make | None:
    """Return the order for the grammar that a request needs; None if it needs none."""
    tokens = _most_tokens(call)
    if isinstance(call, ChatCall) and call.is_forced and isinstance(body, ChatCompletionRequest):
        return Make(tokens, _functions(body, call, aside=False))
    constraint = call.constraint
    if constraint is None:
        return None
    if constraint.pattern is not None:
        return Make(tokens, pattern=constraint.pattern, param="response_format.pattern")
    answer = Part("response_format", constraint.schema or {"type": "object"}, strict=_is_strict(body))
    if not (isinstance(call, ChatCall) and call.tools and isinstance(body, ChatCompletionRequest)):
        return Make(tokens, (answer,))
    return Make(tokens, (answer, *_functions(body, call, aside=True)))


def _functions(body: ChatCompletionRequest, call: ChatCall, *, aside: bool) -> tuple[Part, ...]:
    """Return the functions that may be called, with the names of their fields in the request."""
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


def _most_tokens(call: TextCall) -> int:
    """Return the most tokens that the answer may have, rounded up to a power of two: so a grammar that was
    made for one request serves for others like it."""
    context = call.model.context_length or _ANY_CONTEXT
    most = min(call.max_tokens or context, context)
    return 1 << (most - 1).bit_length()


def _tool_call_text(name: str, arguments: str) -> str:
    """Return a tool call as the JSON that the schema of forced calls describes."""
    return f'{{"name": {msgspec.json.encode(name).decode()}, "arguments": {arguments or "{}"}}}'
