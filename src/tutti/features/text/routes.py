"""POST /chat/completions and POST /completions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from tutti.base.clock import now_s
from tutti.base.ids import new_id
from tutti.base.model import Model
from tutti.engines.calls import ChatCall, CompletionCall, Json
from tutti.features.inputs import require_openai
from tutti.features.text import bodies, chunks, media
from tutti.features.text.calls import chat_calls, completion_calls, prompts
from tutti.features.text.choice import Choice
from tutti.features.text.chunks import Frames
from tutti.features.text.delivery import Work, Write, stream, whole
from tutti.features.text.enforce import enforced
from tutti.features.text.messages import plain
from tutti.features.text.openai_only import require_known_effort, require_text_prompts
from tutti.features.text.responses import ChatCompletionResponse, CompletionResponse
from tutti.features.text.safety import Guard, find_model
from tutti.features.text.schemas import ChatCompletionRequest, CompletionRequest, Generation
from tutti.features.text.service import require_text
from tutti.features.text.shapes import Form
from tutti.features.text.tally import Tally
from tutti.features.text.thinking import Thinking
from tutti.features.text.toolparse import ToolParser
from tutti.features.text.unheeded import warnings_of
from tutti.http.context import caller, family
from tutti.http.route import BodyRoute
from tutti.http.stream import event_stream, while_connected
from tutti.platform import Platform


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(route_class=BodyRoute)

    @routes.post(
        "/chat/completions",
        operation_id="chat-completions",
        tags=["Chat"],
        summary="Create chat completion",
        response_model=ChatCompletionResponse,
    )
    async def chat_completions(request: Request, body: ChatCompletionRequest) -> Response:
        """Generate a model response for a given chat conversation."""
        work = await _chat_work(platform, request, body)
        frames = chunks.OpenAIChatFrames if work.form.openai else chunks.ChatFrames
        return await _respond(platform, request, body, work, frames(work.form), bodies.chat)

    @routes.post(
        "/completions",
        operation_id="completions",
        tags=["Completion"],
        summary="Create completion",
        response_model=CompletionResponse,
    )
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Generate text completions for a given prompt."""
        work = await _completion_work(platform, request, body)
        frames = chunks.OpenAICompletionFrames if work.form.openai else chunks.CompletionFrames
        return await _respond(platform, request, body, work, frames(work.form), bodies.completion)

    return routes


async def _respond(
    platform: Platform, request: Request, body: Generation, work: Work, frames: Frames, write: Write
) -> Response:
    if body.stream:
        return event_stream(stream(work, frames), early_headers_s=platform.settings.early_headers_s)
    answer = await while_connected(request, whole(work, write))
    return Response(answer, media_type="application/json")


async def _chat_work(platform: Platform, request: Request, body: ChatCompletionRequest) -> Work:
    model = await _model(platform, request, body)
    require_known_effort(request, body.reasoning_effort)
    messages = plain(body.messages)
    media.require_support(messages, model)
    calls, keeper = await enforced(
        platform.grammars, body, chat_calls(body, model, messages), caller(request).project_id
    )
    legacy = body.functions is not None or (body.function_call is not None and body.tool_choice is None)
    return Work(
        dispatch=platform.dispatch,
        calls=calls,
        choice=partial(_choice, calls[0], legacy, body.parallel_tool_calls is not False),
        form=_form(request, body, calls, new_id("chatcmpl"), legacy),
        tally=Tally(platform.meter, caller(request), "chat-completions", calls, len(calls)),
        keeper=keeper,
        warnings=warnings_of(body, model),
        guard=await _guard(platform, request, body, messages, "messages"),
        embed=partial(media.embed, fetcher=platform.fetcher) if media.has_any(messages) else None,
    )


async def _completion_work(platform: Platform, request: Request, body: CompletionRequest) -> Work:
    require_openai(request, "prompt", body.prompt)
    require_text_prompts(body)
    model = await _model(platform, request, body)
    calls, keeper = await enforced(
        platform.grammars, body, completion_calls(body, model), caller(request).project_id
    )
    conversation = [{"role": "user", "content": prompt} for prompt in prompts(body)]
    return Work(
        dispatch=platform.dispatch,
        calls=calls,
        choice=Choice,
        form=_form(request, body, calls, new_id("cmpl")),
        tally=Tally(platform.meter, caller(request), "completions", calls, body.n or 1),
        keeper=keeper,
        guard=await _guard(platform, request, body, conversation, "prompt"),
    )


async def _model(platform: Platform, request: Request, body: Generation) -> Model:
    model = await platform.dispatch.resolve(body.model, caller(request).project_id)
    request.scope["state"]["model"] = model.name
    require_text(model)
    return model


async def _guard(
    platform: Platform, request: Request, body: Generation, conversation: Sequence[Json], param: str
) -> Guard | None:
    if body.safety_model is None:
        return None
    model = await find_model(platform.dispatch, body.safety_model, caller(request).project_id)
    tally = partial(Tally, platform.meter, caller(request), "safety")
    return Guard(platform.dispatch, tally, model, conversation, param)


def _choice(call: ChatCall, legacy: bool, parallel: bool) -> Choice:
    thinking = Thinking(anywhere="reasoning" in call.model.capabilities)
    names = [tool["function"]["name"] for tool in call.tools]
    tools = ToolParser(names, forced=call.tool_choice not in ("auto", "none")) if names else None
    return Choice(thinking, tools, legacy=legacy, parallel=parallel)


def _form(
    request: Request,
    body: Generation,
    calls: Sequence[ChatCall | CompletionCall],
    answer_id: str,
    legacy_functions: bool = False,
) -> Form:
    shape: Any = None if calls[0].logprobs is None else "content" if body.logprobs is True else "lists"
    return Form(
        id=answer_id,
        created=now_s(),
        model=body.model,
        openai=family(request) == "openai",
        logprobs=shape,
        seeds=[call.sampling.seed for call in calls],
        legacy_functions=legacy_functions,
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        choices_per_prompt=body.n or 1,
    )
