from typing import Any

import pytest
from tests.support.engines import model

from tutti.features.text.schemas import ChatCompletionRequest
from tutti.features.text.unheeded import warnings_of

TOOL = {"type": "function", "function": {"name": "f"}}


def _warned(capabilities: list[str], **fields: Any) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    asked = model(capabilities=frozenset(capabilities))
    return " ".join(warnings_of(ChatCompletionRequest.model_validate(body), asked))


@pytest.mark.parametrize("given", [{"tools": [TOOL]}, {"functions": [TOOL["function"]]}])
def test_tools_that_a_template_leaves_out_are_said(given: dict[str, Any]) -> None:
    assert "was not made for tools" in _warned(["json"], **given)
    assert _warned(["json", "tools"], **given) == ""
    assert _warned([], **given) == "", "of a model whose abilities nobody has told, nothing is known"


def test_reasoning_that_a_model_cannot_do_is_said_but_not_that_it_is_off() -> None:
    assert "does not reason" in _warned(["json"], reasoning_effort="low")
    assert _warned(["json"], reasoning_effort="none") == ""
