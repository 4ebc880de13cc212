"""Why a schema or a pattern is not enforced."""


class Refused(Exception):
    """The reason is for the client. `path` leads to the place in the schema, `param` names the field."""

    def __init__(self, reason: str, path: str = "", param: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.param = param
