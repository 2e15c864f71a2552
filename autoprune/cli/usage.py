"""Wrong usage is one line on stderr and exit code 2, like every other wrong input."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperGroup

from autoprune.cli.exit_codes import WRONG_INPUT, fail


class OneLineUsage(TyperGroup):
    """All the commands; what they cannot read of the command line is said in one line."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Typer's own, which begins with the argv and, if standalone, ends the process."""
        ends = extra.pop("standalone_mode", True)
        extra["standalone_mode"] = False
        if not ends:
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **extra)
        except Exception as error:
            # Typer's errors are Click's, or its own of the same shape: it depends on the version.
            if not hasattr(error, "format_message"):
                raise
            _show(error)
        sys.exit(code if isinstance(code, int) else 0)


def _show(error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":  # the help, for who asked nothing
        error.show()
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "autoprune"
    message = str(error.format_message()).strip().rstrip(".")
    fail(f"{message}; {path} --help shows what there is", WRONG_INPUT)
