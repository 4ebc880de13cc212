"""POST /chat/completions and POST /completions."""

from fastapi import APIRouter, Request, Response

from tutti.features.resolving import requested_model
from tutti.features.text import bodies, chunks
from tutti.features.text.delivery import AnswerPlan, Write, stream, whole
from tutti.features.text.openai_only import require_known_prompt
from tutti.features.text.responses import ChatCompletionResponse, CompletionResponse
from tutti.features.text.schemas import ChatCompletionRequest, CompletionRequest
from tutti.features.text.service import plan_chat, plan_completion
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
        model = await requested_model(platform, request, body.model)
        plan = await plan_chat(platform, caller(request), family(request), model, body)
        if body.stream:
            return _stream(platform, plan, chunks.chat_frames(plan.form))
        return await _whole(request, plan, bodies.chat)

    @routes.post(
        "/completions",
        operation_id="completions",
        tags=["Completion"],
        summary="Create completion",
        response_model=CompletionResponse,
    )
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Generate text completions for a given prompt."""
        require_known_prompt(family(request), body)
        model = await requested_model(platform, request, body.model)
        plan = await plan_completion(platform, caller(request), family(request), model, body)
        if body.stream:
            return _stream(platform, plan, chunks.completion_frames(plan.form))
        return await _whole(request, plan, bodies.completion)

    return routes


def _stream(platform: Platform, plan: AnswerPlan, frames: chunks.Frames) -> Response:
    return event_stream(stream(plan, frames), early_headers_s=platform.settings.early_headers_s)


async def _whole(request: Request, plan: AnswerPlan, write: Write) -> Response:
    answer = await while_connected(request, whole(plan, write))
    return Response(answer, media_type="application/json")
