"""The error that a user can cause."""


class UserError(ValueError):
    """Input that can't be used. Its text is one line: what was given, the rule, what would work."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
