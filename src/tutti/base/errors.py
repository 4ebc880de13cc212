"""Every error a client can see.

TuttiError
├─ InvalidRequest        400  the request is wrong; `param` names the field
│  └─ ContextTooLong     400  prompt and max_tokens do not fit the model
├─ Unauthenticated       401
├─ Forbidden             403
├─ NotFound              404  also for what belongs to another project
├─ MethodNotAllowed      405
├─ Stalled               408  the request did not come to its end in time
├─ Conflict              409  permanent: never retried
├─ TooLarge              413
├─ UnsupportedMedia      415  a body in a form that is not read here
├─ RateLimited           429  retried after `retry_after_s`
├─ QuotaExceeded         429  permanent: never retried
├─ HeadTooLarge          431
├─ InternalError         500
├─ NotServed             501  an operation of the API that Tutti does not serve yet
├─ Unavailable           503  transient: retried after `retry_after_s`
│  ├─ EngineEnded        503  the engine ended while it worked on the request
│  ├─ EndsEngine         503  it did so again and again: the request is not run any more
│  ├─ LoadFailed         503  the model cannot be started; not retried, since only its operator can help
│  └─ CannotSandbox      503  no sandbox can be made on this machine; neither
└─ EngineTimeout         504

The body is `ErrorData` of the API; the clients decide on a retry by `x-should-retry`, then by status.
"""

from typing import ClassVar


class TuttiError(Exception):
    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    should_retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, dict[str, str | None]]:
        """Return `ErrorData` of the API."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Return the headers with retry advice; names in lower case, since the 1.x client looks them up that
        way."""
        headers = {"x-should-retry": "true" if self.should_retry else "false"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_s)))
        return headers


class InvalidRequest(TuttiError):
    status = 400
    type = "invalid_request_error"


class ContextTooLong(InvalidRequest):
    """The prompt does not fit the model. Clients such as LiteLLM recognise this error by the words of its
    message, which OpenAI and vLLM use."""

    WORDS: ClassVar = "This model's maximum context length is"

    def __init__(self, message: str, *, context: int = 0, param: str | None = "messages") -> None:
        """Begin the message with the words, unless it has them already. `context` is the model's, in tokens;
        0: unknown."""
        if self.WORDS not in message:
            message = f"{self.WORDS} {f'{context} tokens. However,' if context else 'exceeded:'} {message}"
        super().__init__(message, param=param, code="context_length_exceeded")


class Unauthenticated(TuttiError):
    status = 401
    type = "authentication_error"


class Forbidden(TuttiError):
    status = 403
    type = "permission_error"


class NotFound(TuttiError):
    status = 404
    type = "not_found_error"


class MethodNotAllowed(TuttiError):
    status = 405
    type = "invalid_request_error"


class Stalled(TuttiError):
    status = 408
    type = "timeout_error"
    should_retry = True


class Conflict(TuttiError):
    status = 409
    type = "conflict_error"


class TooLarge(TuttiError):
    status = 413
    type = "invalid_request_error"


class UnsupportedMedia(TuttiError):
    status = 415
    type = "invalid_request_error"


class RateLimited(TuttiError):
    status = 429
    type = "rate_limit_error"
    should_retry = True


class QuotaExceeded(TuttiError):
    status = 429
    type = "quota_error"


class HeadTooLarge(TuttiError):
    status = 431
    type = "invalid_request_error"


class InternalError(TuttiError):
    status = 500
    type = "server_error"


class NotServed(TuttiError):
    status = 501
    type = "not_implemented_error"


class Unavailable(TuttiError):
    status = 503
    type = "overloaded_error"
    should_retry = True


class EngineEnded(Unavailable):
    def __init__(self, why: str = "") -> None:
        because = f": {why}" if why else ""
        super().__init__(
            f"The model stopped while it was working on this request{because}.",
            code="engine_ended",
            retry_after_s=1,
        )


class EndsEngine(Unavailable):
    should_retry = False

    def __init__(self, message: str = "The model stopped each time it worked on this request") -> None:
        super().__init__(f"{message}: it is not run again. Change the request.", code="ends_engine")


class LoadFailed(Unavailable):
    should_retry = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, code="model_load_failed", retry_after_s=retry_after_s)


class CannotSandbox(Unavailable):
    should_retry = False

    def __init__(self, message: str) -> None:
        super().__init__(message, code="sandbox_unavailable")


class EngineTimeout(TuttiError):
    status = 504
    type = "timeout_error"
    should_retry = True
