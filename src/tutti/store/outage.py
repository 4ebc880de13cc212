"""Outages of the database, told apart from mistakes in what it was sent."""

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError


def is_database_outage(error: BaseException) -> bool:
    """Return True if the database could not be reached, not if it refused the statement."""
    refused = isinstance(error, IntegrityError | ProgrammingError | DataError)
    return isinstance(error, DBAPIError) and not refused
