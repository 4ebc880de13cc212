"""Bodies of the code interpreter. Component names are the contract's."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType

from tutti.features.fields import Body

_MOST_FILES = 1000
_MOST_NAME_CHARS = 1024
_MOST_PART_BYTES = 255


def _safe(name: str) -> str:
    """Return a file's name. Raise ValueError if it is not within the session's home directory."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError("should be a file's name, or a relative path without '..'")
    if any(len(part.encode()) > _MOST_PART_BYTES for part in parts):
        raise ValueError(f"has a part that is longer than {_MOST_PART_BYTES} bytes")
    return name


class InterpreterFile(Body):
    name: Annotated[str, Field(max_length=_MOST_NAME_CHARS), AfterValidator(_safe)] = Field(
        description="Where the file goes: relative to the session's home directory, in which code runs."
    )
    encoding: Literal["string", "base64"] = Field(
        description="Encoding of the file content. Use `string` for text files such as code, and `base64` "
        "for binary files, such as images."
    )
    content: str

    def decoded(self) -> bytes:
        """Return the bytes of the file. Raise ValueError if they are not in the encoding it names."""
        if self.encoding == "string":
            return self.content.encode()
        try:
            return base64.b64decode("".join(self.content.split()), validate=True)
        except binascii.Error as error:
            raise ValueError(f"is not base64: {error}") from error


class ExecuteRequest(Body):
    language: Literal["python"] = Field(description="Programming language for the code to execute.")
    code: str = Field(description="Code snippet to execute.", examples=["print('Hello, world!')"])
    session_id: str | None = Field(
        None,
        max_length=256,
        description="Identifier of the current session. Used to make follow-up calls. Requests will return "
        "an error if the session does not belong to the caller or has expired.",
        examples=["ses_abcDEF123"],
    )
    files: list[InterpreterFile] | None = Field(
        None,
        max_length=_MOST_FILES,
        description="Files to upload to the session. If present, files will be uploaded before executing the "
        "given code.",
    )


# --- answers ------------------------------------------------------------------------------------------------


class StreamOutput(BaseModel):
    """Outputs that were printed to stdout or stderr"""

    type: Literal["stdout", "stderr"]
    data: str


class ErrorOutput(BaseModel):
    """Errors and exceptions that occurred. If this output type is present, your code did not execute
    successfully."""

    type: Literal["error"]
    data: str


class MimeBundle(BaseModel):
    """One thing in the forms that it has; binary ones are base64."""

    application_geo_json: dict[str, Any] | None = Field(None, alias="application/geo+json")
    application_javascript: str | None = Field(None, alias="application/javascript")
    application_json: dict[str, Any] | None = Field(None, alias="application/json")
    application_pdf: str | None = Field(None, alias="application/pdf")
    application_vega: dict[str, Any] | None = Field(None, alias="application/vnd.vega.v5+json")
    application_vegalite: dict[str, Any] | None = Field(None, alias="application/vnd.vegalite.v4+json")
    image_gif: str | None = Field(None, alias="image/gif")
    image_jpeg: str | None = Field(None, alias="image/jpeg")
    image_png: str | None = Field(None, alias="image/png")
    image_svg: str | None = Field(None, alias="image/svg+xml")
    text_html: str | None = Field(None, alias="text/html")
    text_latex: str | None = Field(None, alias="text/latex")
    text_markdown: str | None = Field(None, alias="text/markdown")
    text_plain: str | None = Field(None, alias="text/plain")


class DisplayorExecuteOutput(BaseModel):
    type: Literal["display_data", "execute_result"]
    data: MimeBundle


InterpreterOutput = TypeAliasType(
    "InterpreterOutput",
    Annotated[StreamOutput | ErrorOutput | DisplayorExecuteOutput, Field(discriminator="type")],
)


class Execution(BaseModel):
    session_id: str = Field(
        description="Identifier of the current session. Used to make follow-up calls.",
        examples=["ses_abcDEF123"],
    )
    outputs: list[InterpreterOutput]
    status: Literal["success"] | None = Field(
        None, description="Status of the execution. Currently only supports success."
    )


class SuccessfulExecution(BaseModel):
    data: Execution
    errors: None


class FailedExecution(BaseModel):
    data: None
    errors: list[str | dict[str, Any]]


ExecuteResponse = TypeAliasType("ExecuteResponse", SuccessfulExecution | FailedExecution)


class Session(BaseModel):
    id: str = Field(
        description="Session Identifier. Used to make follow-up calls.", examples=["ses_abcDEF123"]
    )
    execute_count: int
    started_at: datetime
    last_execute_at: datetime
    expires_at: datetime


class SessionList(BaseModel):
    sessions: list[Session]


class SessionListResponse(BaseModel):
    data: SessionList


class SessionDeleteResponse(BaseModel):
    id: str
    deleted: Literal[True]
