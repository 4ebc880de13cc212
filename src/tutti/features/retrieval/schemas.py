"""Bodies of POST /embeddings and POST /rerank. Component names are the contract's."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.json_schema import SkipJsonSchema

from tutti.features.fields import Body, Count, JsonObject, TokenIds, UsageData, at_most
from tutti.features.inputs import texts_or_tokens


def _objects_or_strings(value: Any) -> str:
    """Return the tag of the union's member that documents are validated as: all like the first one."""
    return "objects" if isinstance(value, list) and value[:1] and isinstance(value[0], dict) else "strings"


_MOST_TEXTS = 8192
_Strings = Annotated[list[str], Field(min_length=1)]
_Objects = Annotated[list[JsonObject], Field(min_length=1)]


class EmbeddingsRequest(Body):
    model: str = Field(description="The name of the embedding model to use.")
    input: Annotated[
        Annotated[str, Tag("string")]
        | Annotated[_Strings, Tag("list")]
        | SkipJsonSchema[Annotated[TokenIds, Tag("tokens")]]
        | SkipJsonSchema[Annotated[list[TokenIds], Tag("token_lists")]],
        Discriminator(texts_or_tokens),
        at_most(_MOST_TEXTS),
    ] = Field(description="A string, or strings, providing the text for the model to embed.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="`base64` is the little-endian float32 bytes, a third of the size."
    )
    dimensions: Count | None = Field(
        None, description="Shorten the vectors, where the model was trained for it."
    )


class Embedding(BaseModel):
    object: Literal["embedding"]
    embedding: list[float] | str = Field(description="Numbers, or their base64 where it was asked for.")
    index: int


class EmbeddingsUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingsUsage


class RerankRequest(Body):
    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="The model to be used for the rerank request.")
    query: str = Field(description="The search query to be used for ranking.")
    documents: Annotated[
        Annotated[_Objects, Tag("objects")] | Annotated[_Strings, Tag("strings")],
        Discriminator(_objects_or_strings),
        at_most(_MOST_TEXTS),
    ] = Field(description="List of documents, which can be either strings or objects.")
    top_n: Count | None = Field(None, description="The number of top results to return.")
    return_documents: bool | None = Field(
        None, description="Whether to return supplied documents with the response."
    )
    rank_fields: list[str] | None = Field(
        None, description="Keys of the object documents to rank by. Defaults to all supplied keys."
    )


class RerankDocument(BaseModel):
    text: str | None = None


class RerankResult(BaseModel):
    index: int
    relevance_score: float
    document: RerankDocument


class RerankResponse(BaseModel):
    object: Literal["rerank"]
    id: str
    model: str
    results: list[RerankResult]
    usage: UsageData
