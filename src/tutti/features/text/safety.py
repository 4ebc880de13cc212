"""safety_model: a moderation model judges the input and the output before the client sees any of it."""

import re
from collections.abc import Callable, Sequence

from tutti.base.errors import InternalError, InvalidRequest, NotFound
from tutti.base.model import Model
from tutti.dispatch.dispatch import Dispatch
from tutti.engines.calls import ChatCall, Json, Sampling
from tutti.features.text.calls import TextCall
from tutti.features.text.choice import ChoiceReader
from tutti.features.text.generate import generate
from tutti.features.text.tally import TokenTally

_VERDICT = re.compile(r"\b(?P<verdict>safe|unsafe)\b(?P<rest>.*)", re.I | re.S)
_CATEGORY = re.compile(r"[A-Za-z][\w-]*")
_MOST_TOKENS = 64


class SafetyGuard:
    """Judges the texts of one request. `param` names the field that the input came in; each judgement is a
    request of its own, with a tally of its own."""

    def __init__(
        self,
        dispatch: Dispatch,
        tally: Callable[[Sequence[TextCall], int], TokenTally],
        model: Model,
        conversation: Sequence[Json],
        param: str,
    ) -> None:
        self._dispatch = dispatch
        self._tally = tally
        self._model = model
        self._conversation = [_as_text(message) for message in conversation]
        self._param = param

    async def check_input(self) -> None:
        await self._check(self._conversation, "input", self._param)

    async def check_output(self, text: str) -> None:
        if text:
            answer = {"role": "assistant", "content": text}
            await self._check([*self._conversation, answer], "output", None)

    async def _check(self, messages: Sequence[Json], what: str, param: str | None) -> None:
        call = ChatCall(
            model=self._model,
            messages=messages,
            stream=False,
            sampling=Sampling(temperature=0),
            max_tokens=_MOST_TOKENS,
        )
        with self._tally([call], 1) as tally:
            batches = generate(self._dispatch, [call], ChoiceReader, tally)
            pieces = [delta.text async for batch in batches for _, delta in batch]
        violated = categories("".join(pieces))
        if violated is None:
            raise InternalError(f"{self._model.name} gave no verdict on the {what}.", code="no_verdict")
        if violated:
            raise InvalidRequest(
                f"The {what} is unsafe according to {self._model.name}: {', '.join(violated)}.",
                param=param,
                code="content_policy_violation",
            )


async def find_model(dispatch: Dispatch, name: str, project_id: str) -> Model:
    """Return the moderation model called `name`. Raise InvalidRequest if there is none."""
    try:
        model = await dispatch.resolve(name, project_id)
    except NotFound as exc:
        raise InvalidRequest(exc.message, param="safety_model", code=exc.code) from exc
    if model.type != "moderation":
        raise InvalidRequest(f"{name} is a model for {model.type}, not for moderation.", param="safety_model")
    return model


def categories(text: str) -> list[str] | None:
    """Return the categories that a text violates according to `text`, the answer of a safety model.

    An empty list means safe, None that the answer is no verdict. Known forms are Llama Guard's `safe`, or
    `unsafe` and a line of categories, and Qwen3Guard's `Safety: ...` and `Categories: ...`.
    """
    found = _VERDICT.search(text)
    if not found:
        return None
    if found["verdict"].lower() == "safe":
        return []
    named = [word for word in _CATEGORY.findall(found["rest"]) if word.lower() != "categories"]
    return named or ["unsafe"]


def _as_text(message: Json) -> Json:
    """Return a message as safety models read it: its text, without tool calls and media."""
    content = message["content"]
    if not isinstance(content, str):
        parts: Sequence[Json] = content
        content = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return {"role": "user" if message["role"] == "tool" else message["role"], "content": content}
