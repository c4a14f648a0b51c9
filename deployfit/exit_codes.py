"""What the command's exit codes mean: each has one meaning, whatever the question."""

from __future__ import annotations

from collections.abc import Mapping

ANSWERED = 0
OUTSIDE = 1
BAD_INPUT = 2
DOES_NOT_FIT = 3
HUB_NOT_ASKED = 4
FAULT = 70
INTERRUPTED = 130
CLOSED = 141

EXIT_CODES: Mapping[int, str] = {
    ANSWERED: "answered",
    OUTSIDE: "an estimate is outside its tolerance (check, verify)",
    BAD_INPUT: "bad input: one line on stderr says what, where, and the way out",
    DOES_NOT_FIT: "nothing asked for runs within the GPU limit (fit --exit-code)",
    HUB_NOT_ASKED: "the Hugging Face Hub could not be asked, or not about everything",
    FAULT: "a fault of deployfit itself",
    INTERRUPTED: "interrupted (Ctrl-C)",
    CLOSED: "whoever read the output closed it",
}
