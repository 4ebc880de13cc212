"""Plans answers: from a validated request to all that is decided before an engine is asked.

A plan goes to `delivery`, which asks the engine and writes the answer as a stream or as a whole. Nothing here
needs a web framework: another API for text makes the same plans and writes them in shapes of its own.
"""

from collections.abc import Sequence
from functools import partial

from tutti.access.caller import Caller
from tutti.base.clock import now_s
from tutti.base.errors import InvalidRequest
from tutti.base.ids import new_id
from tutti.base.model import ANSWERING_TYPES, Model
from tutti.engines.calls import ChatCall, Json
from tutti.features.text import media
from tutti.features.text.calls import TextCall, chat_calls, completion_calls, prompts
from tutti.features.text.choice import ChoiceReader
from tutti.features.text.delivery import AnswerPlan
from tutti.features.text.enforce import enforced
from tutti.features.text.messages import plain
from tutti.features.text.openai_only import require_known_effort
from tutti.features.text.safety import SafetyGuard, find_model
from tutti.features.text.schemas import ChatCompletionRequest, CompletionRequest, Generation
from tutti.features.text.shapes import AnswerForm, LogprobsShape
from tutti.features.text.tally import TokenTally
from tutti.features.text.thinking import Thinking
from tutti.features.text.toolparse import ToolParser
from tutti.features.text.unheeded import warnings_of
from tutti.http.context import Family
from tutti.platform import Platform


async def plan_chat(
    platform: Platform, who: Caller, family: Family, model: Model, body: ChatCompletionRequest
) -> AnswerPlan:
    """Return the plan of a chat completion by `model`. Raise InvalidRequest for what cannot be done."""
    _require_text(model)
    require_known_effort(family, body.reasoning_effort)
    messages = plain(body.messages)
    media.require_support(messages, model)
    calls, check = await enforced(platform.grammars, body, chat_calls(body, model, messages), who.project_id)
    legacy = body.functions is not None or (body.function_call is not None and body.tool_choice is None)
    return AnswerPlan(
        dispatch=platform.dispatch,
        calls=calls,
        reader=partial(_chat_reader, calls[0], legacy, body.parallel_tool_calls is not False),
        form=_form(family, body, calls, new_id("chatcmpl"), legacy),
        tally=TokenTally(platform.meter, who, "chat-completions", calls, len(calls)),
        check=check,
        warnings=warnings_of(body, model),
        guard=await _guard(platform, who, body, messages, "messages"),
        embed=partial(media.embed, fetcher=platform.fetcher) if media.has_any(messages) else None,
    )


async def plan_completion(
    platform: Platform, who: Caller, family: Family, model: Model, body: CompletionRequest
) -> AnswerPlan:
    """Return the plan of a text completion by `model`. Raise InvalidRequest for what cannot be done."""
    _require_text(model)
    calls, check = await enforced(platform.grammars, body, completion_calls(body, model), who.project_id)
    conversation = [{"role": "user", "content": prompt} for prompt in prompts(body)]
    return AnswerPlan(
        dispatch=platform.dispatch,
        calls=calls,
        reader=ChoiceReader,
        form=_form(family, body, calls, new_id("cmpl")),
        tally=TokenTally(platform.meter, who, "completions", calls, body.n or 1),
        check=check,
        guard=await _guard(platform, who, body, conversation, "prompt"),
    )


def _require_text(model: Model) -> None:
    if model.type not in ANSWERING_TYPES:
        raise InvalidRequest(
            f"{model.name} is a model for {model.type}, which cannot write text: use a chat model.",
            param="model",
        )


async def _guard(
    platform: Platform, who: Caller, body: Generation, conversation: Sequence[Json], param: str
) -> SafetyGuard | None:
    if body.safety_model is None:
        return None
    model = await find_model(platform.dispatch, body.safety_model, who.project_id)
    tally = partial(TokenTally, platform.meter, who, "safety")
    return SafetyGuard(platform.dispatch, tally, model, conversation, param)


def _chat_reader(call: ChatCall, legacy: bool, parallel: bool) -> ChoiceReader:
    thinking = Thinking(anywhere="reasoning" in call.model.capabilities)
    names = [tool["function"]["name"] for tool in call.tools]
    tools = ToolParser(names, forced=call.is_forced) if names else None
    return ChoiceReader(thinking, tools, legacy=legacy, parallel=parallel)


def _form(
    family: Family,
    body: Generation,
    calls: Sequence[TextCall],
    answer_id: str,
    legacy_functions: bool = False,
) -> AnswerForm:
    return AnswerForm(
        id=answer_id,
        created=now_s(),
        model=body.model,
        openai=family == "openai",
        logprobs=_logprobs_shape(body, calls[0]),
        seeds=[call.sampling.seed for call in calls],
        legacy_functions=legacy_functions,
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        choices_per_prompt=body.n or 1,
    )


def _logprobs_shape(body: Generation, call: TextCall) -> LogprobsShape | None:
    if call.logprobs is None:
        return None
    return "content" if body.logprobs is True else "lists"
