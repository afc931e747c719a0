"""What can go wrong, in words for the person at the terminal."""


class LabError(Exception):
    """Something the user can act on: the text says what is wrong, where, and what to do."""


class CommandFailed(LabError):
    """A program ended with an error; the text holds its command line and the end of its output."""

    def __init__(self, argv: list[str], code: int, output: str) -> None:
        tail = "\n".join(output.strip().splitlines()[-20:])
        super().__init__(f"`{' '.join(argv)}` ended with {code}:\n{tail}")
        self.code = code
        self.output = output
