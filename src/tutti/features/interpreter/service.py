"""Turns the API's request into a call of a sandbox host, and records it."""

from collections.abc import Iterator, Sequence

from tutti.access.caller import Caller
from tutti.base.errors import InvalidRequest
from tutti.features.interpreter.schemas import ExecuteRequest, InterpreterFile
from tutti.features.metered import metered_as
from tutti.meeting.sandbox_calls import Call, InputFile
from tutti.platform import Platform

NAME = "code-interpreter"
"""The name of executions in usage reports, in place of a model's."""
_OPERATION = "tci/execute"


def call(body: ExecuteRequest, project_id: str) -> Call:
    """Return the call for a request. Raise InvalidRequest for a file that is not in the encoding it names."""
    return Call(project_id, body.code, body.session_id, tuple(_decoded(body.files or ())))


async def execute(platform: Platform, who: Caller, wanted: Call) -> bytes:
    """Return the host's answer, JSON in the API's shape, and record the request."""
    with metered_as(platform.meter, who, NAME, _OPERATION):
        return await platform.interpreter.execute(wanted)


def _decoded(files: Sequence[InterpreterFile]) -> Iterator[InputFile]:
    for number, file in enumerate(files):
        try:
            yield InputFile(file.name, file.decoded())
        except ValueError as error:
            param = f"files.{number}.content"
            raise InvalidRequest(f"`{param}` {error}.", param=param) from error
