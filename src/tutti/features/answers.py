"""Answers whose shape depends on the client: Together's and OpenAI's expect different bodies of one route."""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel
from starlette.responses import Response


def answer(body: BaseModel | Mapping[str, Any], status: int = 200) -> Response:
    """Return the body as JSON; null fields of a model are left out. `vary` tells caches that other clients
    get another body."""
    is_model = isinstance(body, BaseModel)
    data = body.model_dump_json(exclude_none=True) if is_model else msgspec.json.encode(body)
    return Response(data, status, headers={"vary": "user-agent"}, media_type="application/json")
