"""What a person can mend."""


class CurationError(ValueError):
    """A project, a file or a flag that cannot be used; the text names it and the fix."""
