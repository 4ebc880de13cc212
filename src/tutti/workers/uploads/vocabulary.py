"""Writes a byte-level BPE tokenizer (tokenizer.json) into a GGUF file.

llama.cpp has the rules that split a text before BPE (pre-tokenizers) built in, each under a name. The name is
found by comparing the rules. Unknown rules are refused: a wrong guess would give tokens that the model was
not trained on.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

Json = Mapping[str, Any]

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BY_PATTERN = {
    _WORDS + r"\p{N}" + _REST: "qwen2",
    _WORDS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _TEKKEN: "tekken",
}
_IGNORES_MERGES = frozenset({"llama-bpe", "tekken"})
"""Rules with which llama.cpp takes a whole word that is a token without applying merges (`ignore_merges`)."""


class UnknownTokenizer(Exception):
    """The tokenizer cannot be converted. The message is for people."""


def add_vocabulary(writer: gguf.GGUFWriter, folder: Path, size: int) -> int:
    """Write the vocabulary and return the number of tokens written. Raises UnknownTokenizer.

    `size` is the number of rows of the embedding matrix, which may be larger than the vocabulary.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise UnknownTokenizer("it has no tokenizer.json: upload it as GGUF")
    tokenizer = json.loads(path.read_bytes())
    model = tokenizer["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise UnknownTokenizer("its tokenizer is not a byte-level BPE: upload it as GGUF")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_rules(tokenizer))
    tokens, kinds = _tokens(tokenizer, size)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=len(tokens))
    template = folder / "chat_template.jinja"
    if template.exists():
        special.chat_template = template.read_text()
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)
    return len(tokens)


def _rules(tokenizer: Json) -> str:
    normalizer: Json = tokenizer.get("normalizer") or {}
    steps = _steps(tokenizer.get("pre_tokenizer") or {})
    found = _known(steps) if normalizer.get("type") in (None, "NFC") else None
    if found is None or bool(tokenizer["model"].get("ignore_merges")) > (found in _IGNORES_MERGES):
        raise UnknownTokenizer(
            "its tokenizer splits texts by rules that llama.cpp does not have: upload it as GGUF"
        )
    return found


def _steps(pre: Json) -> list[Json]:
    return [step for it in pre["pretokenizers"] for step in _steps(it)] if "pretokenizers" in pre else [pre]


def _known(steps: list[Json]) -> str | None:
    match steps:
        case [{"type": "ByteLevel", "add_prefix_space": False, **more}] if more.get("use_regex", True):
            return "gpt-2"
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, **more},
        ] if more.get("use_regex", True):
            return "smollm"
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            return _BY_PATTERN.get(pattern)
        case _:
            return None


def _tokens(tokenizer: Json, size: int) -> tuple[list[str], list[int]]:
    """Return the tokens by id, and their types.

    Rows of the embedding matrix without a token get padding tokens.
    """
    kinds = dict.fromkeys(range(size), gguf.TokenType.UNUSED)
    tokens = {number: f"[PAD{number}]" for number in range(size)}
    for token, number in tokenizer["model"]["vocab"].items():
        tokens[number], kinds[number] = token, gguf.TokenType.NORMAL
    for added in tokenizer.get("added_tokens", []):
        number = added["id"]
        tokens[number] = added["content"]
        kinds[number] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    if len(tokens) != size:
        raise UnknownTokenizer(f"its tokenizer has numbers beyond the {size} tokens of the model")
    return [tokens[number] for number in range(size)], [int(kinds[number]) for number in range(size)]
