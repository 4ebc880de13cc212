"""The error for a schema or a pattern that cannot be enforced."""


class Refused(Exception):
    """The schema or pattern cannot be enforced.

    The reason is for the client. `path` leads to the place in the schema, `param` names the request's field.
    """

    def __init__(self, reason: str, path: str = "", param: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.param = param
