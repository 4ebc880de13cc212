"""Warns, with the answer, of options that have no effect because the model was not made for them."""

from tutti.base.model import Model
from tutti.features.text.schemas import ChatCompletionRequest


def warnings_of(body: ChatCompletionRequest, model: Model) -> list[str]:
    wants_reasoning = body.reasoning_effort not in (None, "none") or (
        body.reasoning and body.reasoning.enabled
    )
    warnings: list[str] = []
    if wants_reasoning and "reasoning" not in model.capabilities:
        warnings.append(f"{model.name} does not reason; reasoning options have no effect.")
    if (body.tools or body.functions) and "json" in model.capabilities and "tools" not in model.capabilities:
        warnings.append(f"{model.name} was not made for tools: its prompt template leaves `tools` out.")
    return warnings
