"""HEAD wherever GET is: the same status and headers, without a body."""

from starlette.types import Message, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return the GET to serve instead, and the `send` for its answer. The answer is complete with its head:
    to the code that makes the body, the client seems to have left, and no file is read for nothing."""

    async def head_only(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    scope["state"]["send_more"] = head_only
    return {**scope, "method": "GET"}, head_only
