"""Commands to show people, written so that they work as they stand: this Python, absolute paths, quoted for this system's shell."""

import shlex
import subprocess
import sys


def command(*words: str) -> str:
    """The words as one line for a shell."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def python_command(*arguments: str) -> str:
    """A line that runs this Python; a module of this project is found by it where the running program was."""
    return command(sys.executable or "python", *arguments)
