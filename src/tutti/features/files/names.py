"""Names of files, as clients tell them."""

import re

from tutti.base.errors import InvalidRequest
from tutti.features.files.schemas import FileType

MAX_CHARACTERS = 255


def basename(name: str) -> str:
    """Some clients send the whole path, of whichever system; what is left can be a file's name on any."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(character for character in last if character.isprintable()).strip()
    if not shown.strip("."):
        raise InvalidRequest("The file needs a name.", param="file_name")
    if len(shown) > MAX_CHARACTERS:
        raise InvalidRequest(f"A file's name may have {MAX_CHARACTERS} characters.", param="file_name")
    return shown


def file_type(given: FileType | None, name: str) -> FileType:
    """The one that was given, else by the name's ending, else (as in the contract) jsonl."""
    ending = name.rpartition(".")[2].lower()
    return given or (FileType(ending) if ending in list(FileType) else FileType.jsonl)
