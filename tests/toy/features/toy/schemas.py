"""Bodies of the toy operations."""

from pydantic import BaseModel

from tutti.features.fields import Body, Count


class ToyRequest(Body):
    size: Count


class Toy(BaseModel):
    id: str
    status: str
    size: int
    address: str
