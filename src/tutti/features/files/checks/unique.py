"""A set that finds repeated texts in bounded memory."""

from array import array

_MASK = (1 << 64) - 1


class Seen:
    """A hash table of 64-bit hashes in two arrays: 12 bytes a slot, at most half of them taken, so a million
    texts take 25 MB, whatever their length. Two texts may have one hash: the caller must read the line that
    is returned again, and compare the texts."""

    def __init__(self) -> None:
        self._hashes = array("Q", bytes(8 * 1024))
        self._lines = array("I", bytes(array("I").itemsize * 1024))
        self._count = 0

    def add(self, text: str, line: int) -> int:
        """Return the first line with a text of this hash, or 0 if there is none: this one is the first then.
        `line` counts from 1."""
        if 2 * self._count >= len(self._hashes):
            self._grow()
        number = hash(text) & _MASK
        slot = self._slot(number)
        if self._lines[slot]:
            return self._lines[slot]
        self._hashes[slot], self._lines[slot] = number, line
        self._count += 1
        return 0

    def _slot(self, number: int) -> int:
        """Return the slot of this hash, or the free slot where it belongs."""
        mask = len(self._hashes) - 1
        slot = number & mask
        while self._lines[slot] and self._hashes[slot] != number:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        hashes, lines = self._hashes, self._lines
        self._hashes = array("Q", bytes(2 * 8 * len(hashes)))
        self._lines = array("I", bytes(2 * lines.itemsize * len(lines)))
        for number, line in zip(hashes, lines, strict=True):
            if line:
                slot = self._slot(number)
                self._hashes[slot], self._lines[slot] = number, line
