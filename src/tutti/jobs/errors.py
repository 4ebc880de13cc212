"""The errors by which a job's handler reports what went wrong."""


class Failed(Exception):
    """The job failed for good: another attempt would end the same. The message is for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class LeaseLost(Exception):
    """Another worker has the job: what this worker still does must leave no trace."""
