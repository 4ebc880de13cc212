"""The code interpreter through the API."""

from typing import Any

import httpx
import psutil
from tests.support.server import Server, argv_of

Json = dict[str, Any]


def execute(client: httpx.Client, code: str, session_id: str | None = None, **fields: Any) -> Json:
    """Execute code and return the whole body of the answer, which must have status 200."""
    body = {"language": "python", "code": code, **fields}
    if session_id is not None:
        body["session_id"] = session_id
    response = client.post("/v1/tci/execute", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def done(client: httpx.Client, code: str, session_id: str | None = None, **fields: Any) -> Json:
    """Execute code and return the data of its SuccessfulExecution."""
    answer = execute(client, code, session_id, **fields)
    assert answer["errors"] is None, answer
    assert answer["data"]["status"] == "success"
    return answer["data"]


def failure(client: httpx.Client, code: str, session_id: str | None = None) -> str:
    """Execute code and return the error of its FailedExecution."""
    answer = execute(client, code, session_id)
    assert answer["data"] is None, answer
    (error,) = answer["errors"]
    return error


def stdout(data: Json) -> str:
    assert {it["type"] for it in data["outputs"]} <= {"stdout"}, data["outputs"]
    return "".join(it["data"] for it in data["outputs"])


def sessions(client: httpx.Client) -> list[Json]:
    response = client.get("/v1/tci/sessions")
    assert response.status_code == 200, response.text
    return response.json()["data"]["sessions"]


def host(server: Server) -> psutil.Process | None:
    """Return the process of the sandbox host, which keeps the sessions, or None."""
    name = "tutti.app.sandboxhost"
    return next((it for it in server.tree() if argv_of(it)[1:3] == ["-m", name]), None)
