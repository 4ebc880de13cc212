"""A set of texts that finds repeated ones in flat memory."""

import sqlite3


class FirstLines:
    """The line on which each text came first. A million ids are 100 MB of Python strings; SQLite keeps them
    in a file, which is gone when it is closed."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE texts (text TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, text: str, line: int) -> int:
        """Add the text of a line. Return the line on which it came first, or 0 if that is this one. `line`
        counts from 1."""
        added = self._database.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (text, line))
        if added.rowcount:
            return 0
        (first,) = self._database.execute("SELECT line FROM texts WHERE text = ?", (text,)).fetchone()
        return first

    def close(self) -> None:
        self._database.close()
