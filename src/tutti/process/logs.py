"""Structured logs on standard error: JSON lines, or plain ones on a terminal. They never contain prompts or
answers.

Code logs through Python's `logging`; the fields of `extra` become fields of the line. Each line of a request
carries the request's id.
"""

import logging
import sys
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.msgspec import MsgspecFormatter

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)

_CHATTY = ("aiosqlite", "alembic", "asyncio", "httpx", "sqlalchemy.engine", "uvicorn.error")


def configure(level: str) -> None:
    """Log to standard error from `level` on: debug, info, warning or error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_name_request)
    handler.setFormatter(_Plain() if sys.stderr.isatty() else _json())
    _skip_unlogged_facts()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _skip_unlogged_facts() -> None:
    """Follow Python's own advice on the cost of a record: each would look up its caller, and the thread and
    process it runs in."""
    logging._srcfile = None  # pyright: ignore # documented as it is, under "Optimization"
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _name_request(record: logging.LogRecord) -> bool:
    request_id = REQUEST_ID.get()
    if request_id is not None:
        record.request_id = request_id
    return True


def _json() -> logging.Formatter:
    return MsgspecFormatter(
        ["levelname", "name", "message"],
        style=",",
        rename_fields={"levelname": "level", "name": "logger", "message": "event", "exc_info": "exception"},
        timestamp=True,
    )


class _Plain(logging.Formatter):
    """`12:30:01 WARNING a child ended child=api status=1`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = [f"{name}={value}" for name, value in vars(record).items() if name not in RESERVED_ATTRS]
        return " ".join([super().formatMessage(record), *fields])
