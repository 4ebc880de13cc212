"""Records requests that are not about tokens alone: usage, latency and status, however they end."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from tutti.access.caller import Caller
from tutti.base.clock import monotonic_s, now
from tutti.base.errors import InternalError, TuttiError
from tutti.base.model import Model
from tutti.dispatch.meter import Meter, Served
from tutti.http.edge import CLIENT_GONE


@dataclass
class RequestTally:
    """The numbers of one request, which its service fills in while it is served."""

    prompt_tokens: int = 0
    first_s: float | None = None
    """Seconds until the first piece of an answer that comes in pieces."""
    _began_s: float = field(default_factory=monotonic_s)

    @property
    def elapsed_s(self) -> float:
        return monotonic_s() - self._began_s

    def piece(self) -> None:
        """Note that a piece of the answer is there; only the first one counts."""
        if self.first_s is None:
            self.first_s = self.elapsed_s


def metered(meter: Meter, who: Caller, model: Model, operation: str) -> AbstractContextManager[RequestTally]:
    """Record the request that is served within the context, as one for `model`."""
    return metered_as(meter, who, model.name, operation)


@contextmanager
def metered_as(meter: Meter, who: Caller, name: str, operation: str) -> Generator[RequestTally]:
    """Record the request that is served within the context, under `name` in place of a model's name."""
    began_at, tally, status = now(), RequestTally(), 200
    try:
        yield tally
    except BaseException as error:
        status = status_of(error)
        raise
    finally:
        meter.record(
            Served(
                project_id=who.project_id,
                key_id=who.key_id,
                model=name,
                operation=operation,
                status=status,
                prompt_tokens=tally.prompt_tokens,
                completion_tokens=0,
                latency_s=tally.elapsed_s,
                first_token_s=tally.first_s,
                created_at=began_at,
            )
        )


def status_of(error: BaseException | None) -> int:
    """Return the HTTP status to record for a request that ended with `error`, or without one."""
    if error is None:
        return 200
    if isinstance(error, TuttiError):
        return error.status
    if isinstance(error, WebSocketDisconnect):  # the only way that a session on one can end
        return 200
    gone = isinstance(error, ClientDisconnect) or not isinstance(error, Exception)
    return CLIENT_GONE if gone else InternalError.status
