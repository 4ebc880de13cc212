"""`tutti chat.completions`, `completions`, `embeddings` and `rerank`: one request each."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from tutti.base.model import TEXT_TYPES
from tutti.cli import options
from tutti.cli.http import Api, Json, connect, part, parts
from tutti.cli.output import write, write_json, write_table

# Typer has no option that takes two values and may be repeated, so the command joins each pair into one
# argument. An argument cannot hold a NUL, so nothing else can look like a pair.
_BETWEEN = "\0"


class _PairedMessages(TyperCommand):
    """A command that takes `--message ROLE CONTENT` any number of times."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _paired(args))


def _paired(args: Sequence[str]) -> list[str]:
    rest = iter(args)
    joined: list[str] = []
    for argument in rest:
        if argument != "--message":
            joined.append(argument)
            continue
        role, content = next(rest, None), next(rest, None)
        if role is None or content is None:
            raise typer.BadParameter("takes a role and a content", param_hint="--message")
        joined.append(f"--message={role}{_BETWEEN}{content}")
    return joined


def _message(pair: str) -> dict[str, Any]:
    role, between, content = pair.partition(_BETWEEN)
    if not between:
        raise typer.BadParameter("takes a role and a content", param_hint="--message")
    return {"role": role, "content": content}


chat_completions = typer.Typer(add_completion=False)


@chat_completions.command("chat.completions", cls=_PairedMessages)
def _chat_completions(
    context: typer.Context,
    message: Annotated[
        list[str],
        typer.Option(metavar="ROLE CONTENT", help="A message of the conversation. Can be repeated."),
    ],
    model: options.Model = None,
    max_tokens: options.MaxTokens = None,
    stop: options.Stop = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    n: options.N = None,
    logprobs: options.Logprobs = None,
    echo: options.Echo = False,
    safety_model: options.SafetyModel = None,
    response_format: Annotated[
        str | None, typer.Option(help="json_object, or a whole response format as JSON.")
    ] = None,
    reasoning_effort: Annotated[str | None, typer.Option(help="low, medium or high.")] = None,
    audio_url: Annotated[
        list[str] | None,
        typer.Option(help="URL of audio to attach to the last message. Can be repeated."),
    ] = None,
    no_stream: options.NoStream = False,
    raw: options.Raw = False,
) -> None:
    """Answer a list of messages. The answer is streamed unless --no-stream is given."""
    body = options.given(
        messages=_attached([_message(pair) for pair in message], audio_url or ()),
        max_tokens=max_tokens,
        stop=stop,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
        n=n,
        logprobs=logprobs,
        echo=echo,
        safety_model=safety_model,
        response_format=options.response_format(response_format),
        reasoning_effort=reasoning_effort,
    )
    with connect(context) as api:
        body["model"] = options.chosen(api, model, "chat")
        _answer(api, "chat/completions", body, _message_text, no_stream=no_stream, raw=raw)


def completions(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    model: options.Model = None,
    max_tokens: options.MaxTokens = None,
    stop: options.Stop = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    n: options.N = None,
    logprobs: options.Logprobs = None,
    echo: options.Echo = False,
    safety_model: options.SafetyModel = None,
    no_stream: options.NoStream = False,
    raw: options.Raw = False,
) -> None:
    """Continue a text. The answer is streamed unless --no-stream is given."""
    body = options.given(
        max_tokens=max_tokens,
        stop=stop,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
        n=n,
        logprobs=logprobs,
        echo=echo,
        safety_model=safety_model,
    )
    body["prompt"] = prompt
    with connect(context) as api:
        body["model"] = options.chosen(api, model, *TEXT_TYPES)
        _answer(api, "completions", body, _completion_text, no_stream=no_stream, raw=raw)


def embeddings(
    context: typer.Context,
    texts: Annotated[list[str], typer.Argument(help="The texts to embed.")],
    model: options.Model = None,
    as_json: options.AsJson = False,
) -> None:
    """Turn texts into vectors. Prints one per line, or the server's JSON."""
    with connect(context) as api:
        name = options.chosen(api, model, "embedding")
        answer = api.post("embeddings", {"model": name, "input": texts})
    if as_json:
        write_json(answer)
        return
    for row in parts(answer, "data"):
        write_json(row["embedding"], indent=None)


def rerank(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="The query.")],
    documents: Annotated[list[str], typer.Argument(help="The documents to sort.")],
    model: options.Model = None,
    top_n: Annotated[int | None, typer.Option(help="Number of documents to show.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Sort documents by relevance to a query."""
    with connect(context) as api:
        name = options.chosen(api, model, "rerank", "embedding")
        body = options.given(top_n=top_n) | {"model": name, "query": query, "documents": documents}
        answer = api.post("rerank", body)
    if as_json:
        write_json(answer)
        return
    results = parts(answer, "results")
    places: list[tuple[float, int]] = [(r["relevance_score"], r["index"]) for r in results]
    rows = [(f"{score:.4f}", index, documents[index]) for score, index in places]
    write_table(("score", "index", "document"), rows)


# --- answers ------------------------------------------------------------------------------------------------


def _attached(messages: list[dict[str, Any]], audio_urls: Sequence[str]) -> list[dict[str, Any]]:
    if audio_urls:
        text = {"type": "text", "text": messages[-1]["content"]}
        audio = [{"type": "audio_url", "audio_url": {"url": url}} for url in audio_urls]
        messages[-1]["content"] = [text, *audio]
    return messages


def _answer(
    api: Api, path: str, body: Json, text: Callable[[Json], str], *, no_stream: bool, raw: bool
) -> None:
    """Request and print answers. Several at once cannot be streamed to a terminal, so they are printed in
    turn."""
    if not no_stream and (raw or body.get("n", 1) == 1):
        _stream(api, path, body, text, raw=raw)
        return
    answer = api.post(path, body)
    if raw:
        write_json(answer)
        return
    choices = parts(answer, "choices")
    for choice in choices:
        if len(choices) > 1:
            write(f"===== Completion {choice['index']} =====\n")
        write(text(choice).rstrip("\n") + "\n")


def _stream(api: Api, path: str, body: Json, text: Callable[[Json], str], *, raw: bool) -> None:
    written = ""
    for chunk in api.stream(path, body):
        if raw:
            write_json(chunk, indent=None)
            continue
        for choice in parts(chunk, "choices"):
            written = text(choice) or written
            write(text(choice))
    if not raw and not written.endswith("\n"):
        write("\n")


def _message_text(choice: Json) -> str:
    """Return the text of a whole answer or of a chunk. Tool calls are shown as JSON."""
    message = part(choice, "message", "delta")
    functions = [part(call, "function") for call in parts(message, "tool_calls")]
    calls = [function.get(key) or "" for function in functions for key in ("name", "arguments")]
    return (message.get("content") or "") + "".join(calls)


def _completion_text(choice: Json) -> str:
    """Return the text of a chunk: `text` (OpenAI, newer Together) or `delta.content` (older Together)."""
    return choice.get("text") or part(choice, "delta").get("content") or ""
