"""safety_model: a moderation model that judges what goes in and what comes out, before the client sees it."""

import re
from collections.abc import Callable, Sequence

from tutti.base.errors import InternalError, InvalidRequest, NotFound
from tutti.base.model import Model
from tutti.dispatch.dispatch import Dispatch
from tutti.engines.calls import ChatCall, Json, Sampling
from tutti.features.text.choice import Choice
from tutti.features.text.service import Call, answer
from tutti.features.text.tally import Tally

_VERDICT = re.compile(r"\b(?P<verdict>safe|unsafe)\b(?P<rest>.*)", re.I | re.S)
_CATEGORY = re.compile(r"[A-Za-z][\w-]*")
_MOST_TOKENS = 64


class Guard:
    """Judges the texts of one request. `param` names the field that the input came in; each judgement is a
    request of its own, with a tally of its own."""

    def __init__(
        self,
        dispatch: Dispatch,
        tally: Callable[[Sequence[Call], int], Tally],
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
            said = {"role": "assistant", "content": text}
            await self._check([*self._conversation, said], "output", None)

    async def _check(self, messages: Sequence[Json], what: str, param: str | None) -> None:
        call = ChatCall(
            model=self._model,
            messages=messages,
            stream=False,
            sampling=Sampling(temperature=0),
            max_tokens=_MOST_TOKENS,
        )
        with self._tally([call], 1) as tally:
            batches = answer(self._dispatch, [call], Choice, tally)
            pieces = [delta.text async for batch in batches for _, delta in batch]
        found = categories("".join(pieces))
        if found is None:
            raise InternalError(f"{self._model.name} gave no verdict on the {what}.", code="no_verdict")
        if found:
            raise InvalidRequest(
                f"The {what} is unsafe according to {self._model.name}: {', '.join(found)}.",
                param=param,
                code="content_policy_violation",
            )


async def find_model(dispatch: Dispatch, name: str, project_id: str) -> Model:
    try:
        model = await dispatch.resolve(name, project_id)
    except NotFound as exc:
        raise InvalidRequest(exc.message, param="safety_model", code=exc.code) from exc
    if model.type != "moderation":
        raise InvalidRequest(f"{name} is a model for {model.type}, not for moderation.", param="safety_model")
    return model


def categories(text: str) -> list[str] | None:
    """What a text violates, from the answer of a guard: Llama Guard's `safe`, or `unsafe` and a line of
    categories, or Qwen3Guard's `Safety: ...` and `Categories: ...`. None where the answer is neither."""
    found = _VERDICT.search(text)
    if not found:
        return None
    if found["verdict"].lower() == "safe":
        return []
    named = [word for word in _CATEGORY.findall(found["rest"]) if word.lower() != "categories"]
    return named or ["unsafe"]


def _as_text(message: Json) -> Json:
    """Guards read text; calls of tools and media are left out."""
    content = message["content"]
    if not isinstance(content, str):
        parts: Sequence[Json] = content
        content = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return {"role": "user" if message["role"] == "tool" else message["role"], "content": content}
