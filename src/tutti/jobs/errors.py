"""How a job's handler says what went wrong."""


class Failed(Exception):
    """For good: another attempt would end the same. The message is shown to the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class LeaseLost(Exception):
    """Another worker has the job: whatever this one still does must leave no trace."""
