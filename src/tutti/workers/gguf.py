"""Facts of a GGUF header that a worker needs before llama.cpp reads the file."""

from pathlib import Path

from tutti.base.gguf import BadGguf, Gguf, read_model_keys

_BYTES_A_VALUE = 2  # the cache holds float16


class BadModel(Exception):
    """The model's files cannot be used; the message says why."""


def read_header(path: Path) -> Gguf:
    """Read the keys of a model's header, without those of its tokeniser. Raises BadModel for what is no GGUF
    file."""
    try:
        return read_model_keys(path)
    except (OSError, BadGguf) as error:
        raise BadModel(f"its header cannot be read ({error})") from error


def cache_bytes_a_token(header: Gguf) -> int:
    """Return how much memory a token takes in the KV cache; 0 where the header does not say."""
    prefix = header.text("general.architecture")
    layers = _number(header, f"{prefix}.block_count")
    heads = _number(header, f"{prefix}.attention.head_count")
    if not (layers and heads):
        return 0
    width = _number(header, f"{prefix}.embedding_length") // heads
    key = _number(header, f"{prefix}.attention.key_length") or width
    value = _number(header, f"{prefix}.attention.value_length") or width
    return (
        _cached_heads(header, f"{prefix}.attention.head_count_kv", layers, heads)
        * (key + value)
        * _BYTES_A_VALUE
    )


def _cached_heads(header: Gguf, key: str, layers: int, heads: int) -> int:
    """Return the number of heads in all layers together whose keys and values are cached."""
    if key in header.arrays:
        return int(sum(header.arrays[key]))
    return layers * (header.number(key) if key in header.values else heads)


def says_pooling(header: Gguf) -> bool:
    """Return whether the model was made to embed or to rank, and so says how."""
    return f"{header.text('general.architecture')}.pooling_type" in header.values


def _number(header: Gguf, key: str) -> int:
    """Return a number of the header, or the greatest of one for each layer."""
    return header.number(key) or int(max(header.arrays.get(key, ()), default=0))
