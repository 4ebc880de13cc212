"""From the API's request to a call of a sandbox host, which is counted."""

from collections.abc import Iterator, Sequence

from tutti.access.caller import Caller
from tutti.base.errors import InvalidRequest
from tutti.features.interpreter.schemas import ExecuteRequest, InterpreterFile
from tutti.features.metered import metered_as
from tutti.meeting.sandbox_calls import Call, InputFile
from tutti.platform import Platform

NAME = "code-interpreter"
"""Where usage reports have a model's name."""
_OPERATION = "tci/execute"


def call(body: ExecuteRequest, project_id: str) -> Call:
    """Raises InvalidRequest for a file that is not in the encoding that it says."""
    return Call(project_id, body.code, body.session_id, tuple(_decoded(body.files or ())))


async def execute(platform: Platform, who: Caller, wanted: Call) -> bytes:
    with metered_as(platform.meter, who, NAME, _OPERATION):
        return await platform.interpreter.execute(wanted)


def _decoded(files: Sequence[InterpreterFile]) -> Iterator[InputFile]:
    for number, file in enumerate(files):
        try:
            yield InputFile(file.name, file.decoded())
        except ValueError as error:
            param = f"files.{number}.content"
            raise InvalidRequest(f"`{param}` {error}.", param=param) from error
