"""The one door through which text from outside is shown: whatever a name holds, it stays text on its line.

Names of files, repositories and models come from anybody. Raw, they could move a terminal's cursor, forge a line of an
answer, or give orders to the runner of a workflow, which obeys lines of its log.
"""

from __future__ import annotations

# What GitHub's runner obeys: `::name ...` at the start of a line, whatever blanks are before it, `##[name]` anywhere.
ORDERS = (("::", ":\\x3a"), ("##[", "##\\x5b"))


def printable(text: str) -> str:
    r"""Return a text as one line in which everything that cannot be seen is spelled out.

    That is control characters, ends of lines of any kind, marks that turn or hide text, unusual blanks, halves of
    characters, and what a workflow's log would take for an order.

    >>> print(printable("m\x1b[2J\n::error::x.gguf"))
    m\x1b[2J\n:\x3aerror:\x3ax.gguf
    >>> printable("Qwen3.5-27B-Q4_K_M.gguf"), printable("日本")
    ('Qwen3.5-27B-Q4_K_M.gguf', '日本')
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    for order, shown in ORDERS:
        if order in text:
            text = text.replace(order, shown)
    return text
