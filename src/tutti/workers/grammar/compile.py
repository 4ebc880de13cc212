"""Compiles grammars with llguidance, in the version that is built into xllamacpp's llama.cpp.

A grammar that llguidance refuses here would make llama.cpp only write to its log, and enforce nothing.
"""

import itertools
import random
import re
import string
import time
from functools import lru_cache
from typing import Any

import msgspec
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from tutti.workers.grammar.keywords import Json, is_list, is_object
from tutti.workers.grammar.refused import Refused
from tutti.workers.grammar.regex import json_pattern

MOST_CPU_S = 0.25
"""The CPU time for a grammar. The engine's loop, which serves all requests, spends about as much again."""
_STEPS = 24
_CONTEXT = re.compile(r" <state>| 1 \| start:")
"""Marks where the compiler's additions to an error message begin: its own state and our grammar."""
_ONE_OF = "oneOf constraints are not supported"
_STOPS = ("NoExtension", "EndOfSentence")
_OPTIONS = {
    # Small models tend to generate white space without end, and llguidance allows any amount of it.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": False,
}


class OneOf(Exception):
    """The compiler cannot show that only one alternative of a oneOf matches at a time."""


def json_grammar(schema: Json, definitions: Json, *, any_of: bool) -> str:
    """Return the schema's grammar as llama.cpp takes it.

    `any_of` treats oneOf as anyOf. Raises OneOf, Refused.
    """
    whole = _for_compiler(schema)
    whole = whole if is_object(whole) else {"allOf": [whole]}
    if definitions:
        whole |= {"$defs": {name: _for_compiler(it) for name, it in definitions.items()}}
    options = _OPTIONS | {"coerce_one_of": any_of}
    return _compiled(f"%json {msgspec.json.encode(whole | {'x-guidance': options}).decode()}")


def regex_grammar(whole: str) -> str:
    """Return the grammar of a pattern that `regex.whole_pattern` has written. Raises Refused."""
    return _compiled(f"/{whole}/")


def _compiled(start: str) -> str:
    lark = f"start: {start}\n"
    began = time.process_time()
    matcher = LLMatcher(vocabulary(), LLMatcher.grammar_from_lark(lark), log_level=0)
    _raise_error(matcher)
    _write(matcher, began)
    return f"%llguidance {{}}\n{lark}"


def _write(matcher: LLMatcher, began: float) -> None:
    """Generate a few random tokens, because the compiler meets some of its limits only then."""
    generator = random.Random(0)
    for _ in range(_STEPS):
        mask = matcher.compute_bitmask()
        _raise_error(matcher)
        if time.process_time() - began > MOST_CPU_S:
            raise Refused("it takes too long to compile: make it smaller or simpler")
        token = _random_token(mask, generator)
        if token is None or token == vocabulary().eos_token:
            return
        matcher.consume_token(token)
        if matcher.is_stopped() and matcher.stop_reason() in _STOPS:
            return
        _raise_error(matcher)


def _random_token(mask: bytes, generator: random.Random) -> int | None:
    bits = int.from_bytes(mask, "little")
    if not bits:
        return None
    after = bits >> generator.randrange(bits.bit_length())
    return bits.bit_length() - after.bit_length() + (after & -after).bit_length() - 1


def _raise_error(matcher: LLMatcher) -> None:
    if not matcher.is_error():
        return
    message = _CONTEXT.split(" ".join(matcher.get_error().split()))[0]
    if _ONE_OF in message:
        raise OneOf
    if "not disjoint" in message:
        raise Refused("patterns of patternProperties match the same names")
    if "NoExtensionBias" in message:
        raise Refused("nothing can match it")
    reason = message.rpartition("failed to compile JSON schema:")[2].strip()
    raise Refused(reason.replace("Unsatisfiable schema", "nothing can match it")[:300])


class _SampleTokenizer:
    """A tokenizer with a vocabulary like a model's: bytes, parts of words, numbers, punctuation."""

    def __init__(self) -> None:
        letters = string.ascii_lowercase
        pairs = [f"{a}{b}" for a, b in itertools.product(map(chr, range(0x20, 0x7F)), repeat=2)]
        words = ["".join(it) for it in itertools.product(letters, repeat=3)]
        known = [*pairs, *words, *(f" {it}" for it in words[::3]), *map(str, range(100, 1000))]
        known += [it * 8 for it in map(chr, range(0x20, 0x7F))] + ['": "', '", "', '"}, {"', "    "]
        self.tokens = [bytes([it]) for it in range(256)] + [it.encode() for it in known] + [b"<end>"]
        self.eos_token_id = len(self.tokens) - 1
        self.bos_token_id = None
        self.special_token_ids = [self.eos_token_id]

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


@lru_cache
def vocabulary() -> LLTokenizer:
    """Return a sample vocabulary to compile grammars for."""
    return LLTokenizer(TokenizerWrapper(_SampleTokenizer()))


def _for_compiler(schema: Any) -> Any:
    """Rewrite the schema with keywords that the compiler reads correctly."""
    if is_list(schema):
        return [_for_compiler(it) for it in schema]
    if not is_object(schema):
        return schema
    given = {key: value if key in _LITERAL else _within(key, value) for key, value in schema.items()}
    if "pattern" in given:
        given |= _pattern(given)
    if patterns := given.get("patternProperties"):
        given["patternProperties"] = {
            _anchored(json_pattern(it).whole): value for it, value in patterns.items()
        }
    elif given.get("type") == "object":
        given |= _other_names(given)
    return given


_LITERAL = ("enum", "const", "required", "title", "description", "type")


def _within(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _for_compiler(it) for name, it in value.items()}
    return _for_compiler(value)


def _pattern(schema: Json) -> Json:
    pattern = json_pattern(schema["pattern"])
    found: Json = {"pattern": _anchored(pattern.whole)}
    if pattern.padding:
        without = {"pattern": f"^[^\\x{{{pattern.padding:X}}}]*$"}
        found["allOf"] = [*schema.get("allOf", ()), without]
    return found


def _other_names(schema: Json) -> Json:
    """Return keywords that forbid escapes in the names of additional properties.

    Otherwise the compiler lets a name that has a schema of its own be written in escapes, as an additional
    one.
    """
    others = schema.get("additionalProperties", True)
    if others is False or not (schema.get("properties") or schema.get("required")):
        return {}
    plain = r"^[^\x{0}-\x{1F}\x{22}\x{5C}\x{7F}]*$"
    return {"patternProperties": {plain: others}, "additionalProperties": False}


def _anchored(whole: str) -> str:
    return f"^(?:{whole})$"
