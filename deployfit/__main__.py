"""The program: `deployfit` once it is installed, or `python -m deployfit`.

What is imported here before Ctrl-C is minded is built into the interpreter: a press while the rest is imported is to
be as quiet as any other.
"""

import os
import sys
from _signal import SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]

INTERRUPTED = 130


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)


# Whoever runs in the background of a shell does not mind Ctrl-C, and keeps to that.
MINDED = getsignal(SIGINT) is default_int_handler
if MINDED:
    signal(SIGINT, _leave)


def main() -> None:
    """Run the command line; every error is one line on stderr and a documented exit code."""
    import gc

    gc.set_threshold(100_000, 20, 20)  # an answer makes next to no cycles; to look for them takes a twentieth of it
    sys.unraisablehook = _unraisable
    code = INTERRUPTED  # unless something else comes of it
    try:
        from deployfit.cli.app import run

        if MINDED:
            signal(SIGINT, default_int_handler)  # from here on there may be something to put in order
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


def _unraisable(error: "sys.UnraisableHookArgs") -> None:
    """End where Ctrl-C met something that cannot raise, such as what the import of a module does at its end."""
    if error.exc_type is KeyboardInterrupt:
        _leave()
    sys.__unraisablehook__(error)


if __name__ == "__main__":
    main()
