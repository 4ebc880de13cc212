"""Names and types of files, from what clients send."""

import re

from tutti.base.errors import InvalidRequest
from tutti.features.files.schemas import FileType

MAX_CHARACTERS = 255


def basename(name: str) -> str:
    """Return the last part of the name, which is a valid file name on any system: some clients send a whole
    path. Raise InvalidRequest if nothing is left, or too much."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(character for character in last if character.isprintable()).strip()
    if not shown.strip("."):
        raise InvalidRequest("The file needs a name.", param="file_name")
    if len(shown) > MAX_CHARACTERS:
        raise InvalidRequest(f"A file's name may have {MAX_CHARACTERS} characters.", param="file_name")
    return shown


def file_type(given: FileType | None, name: str) -> FileType:
    """Return the given type, or else the one of the name's ending, or else jsonl, the contract's default."""
    ending = name.rpartition(".")[2].lower()
    return given or (FileType(ending) if ending in list(FileType) else FileType.jsonl)
