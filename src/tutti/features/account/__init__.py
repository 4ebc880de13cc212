"""The account: the caller, its projects and their usage."""
