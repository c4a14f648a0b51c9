"""The command line: a door to the questions. Nothing else imports click."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; every error is one line on stderr and a documented exit code."""
    gc.set_threshold(100_000, 20, 20)  # an answer makes next to no cycles; to look for them takes a twentieth of it
    code = 130  # interrupted, unless something else comes of it
    try:
        from deployfit.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        pass
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass
    finally:  # what is left in a buffer cannot be written: the interpreter would complain about it on its way out
        os._exit(code)


__all__ = ["main"]
