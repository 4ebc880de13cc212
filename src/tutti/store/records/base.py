"""The base of all tables."""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Float
from sqlalchemy.orm import DeclarativeBase


class Record(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        float: Float(53),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }
