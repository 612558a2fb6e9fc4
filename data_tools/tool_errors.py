"""How tools of this folder end when they cannot go on: with the codes of docs/exit_codes.md, and a message that says
what failed, the value, why it matters and what to try."""

import argparse
import sys

OPTIONS = 10  # an option that is missing or contradicts another
DATA = 11  # input that is missing, damaged or unsuitable
STORAGE = 12  # a file could not be written


class ToolError(Exception):
    """One failure, in the words of src/base/error.hpp."""

    def __init__(self, exit_code: int, what: str, value: str, why: str, remedy: str):
        super().__init__(f"{what}: {value}\n  why it matters: {why}\n  what to try: {remedy}")
        self.exit_code = exit_code


class OptionParser(argparse.ArgumentParser):
    """argparse with the project's exit code for a wrong option."""

    def error(self, message: str):
        self.print_usage(sys.stderr)
        self.exit(OPTIONS, f"{self.prog}: {message}\n")


def run_tool(main) -> int:
    """Calls `main` and turns its ToolError into a message and an exit code."""
    try:
        return main()
    except ToolError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as fault:
        error = ToolError(DATA, "a file cannot be read", str(fault), "its content is needed", "see that it may be read")
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return DATA
