"""THE table of engines, by `Model.engine`. Files that no entry describes go to the first engine that runs
their format."""

from collections.abc import Mapping
from types import MappingProxyType

from tutti.engines.base import Engine
from tutti.engines.echo import Echo
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.ours import Ours
from tutti.engines.remote import Remote
from tutti.engines.vllm import Vllm

ENGINES: Mapping[str, Engine] = MappingProxyType(
    {engine.name: engine for engine in (LlamaCpp(), Ours(), Vllm(), Remote(), Echo())}
)
