"""What can be asked, declared once: a parameter's name, what it takes, and what it does.

Messages name a parameter with `param`; the door through which a question came spells it: `--kv-type` on the command
line, `kv_type=` in Python.
"""

from __future__ import annotations

from collections.abc import Callable

from deployfit.values import NamedTuple

MARK = "\N{SECTION SIGN}"  # stands around a parameter's name until a door has spelled it
LETTERS = "abcdefghijklmnopqrstuvwxyz_"


class Parameter(NamedTuple):
    """A parameter of a question or of a runtime's settings.

    `takes` is what to type, as help shows it, "" for a flag. `default` is said in the help. `many`: it may be given
    several times. `off`: a flag that can be switched off as well.
    """

    name: str
    help: str
    takes: str = ""
    default: str = ""
    many: bool = False
    off: bool = False


def param(name: str) -> str:
    """Return a parameter's name for a message.

    >>> command_line(f"leave out {param('kv_type')}"), python(f"leave out {param('kv_type')}")
    ('leave out --kv-type', 'leave out kv_type')
    """
    return f"{MARK}{name}{MARK}"


def _spelled(text: str, spell: Callable[[str], str]) -> str:
    """Return a text with what stands between two marks spelled, if it is a name: what users type may hold marks too."""
    if MARK not in text:
        return text
    spelled, *pieces = text.split(MARK)
    while pieces:
        name = pieces.pop(0)
        spelled += spell(name) + pieces.pop(0) if pieces and name and not name.strip(LETTERS) else MARK + name
    return spelled


def command_line(text: str) -> str:
    """Return a message with its parameters as the command line spells them."""
    return _spelled(text, option)


def python(text: str) -> str:
    """Return a message with its parameters as Python spells them."""
    return _spelled(text, str)


def option(name: str) -> str:
    """Return a parameter as an option of the command line.

    >>> option("kv_type")
    '--kv-type'
    """
    return "--" + name.replace("_", "-")
