"""mlx-vlm: its generate prints as mlx_lm does; its server and chat say tokens, times and the peak in a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployfit.measured.logs.flags import mlx_settings, words_of
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.log import (
    EngineLog,
    LoggedMac,
    LoggedModel,
    LoggedPart,
    LoggedSettings,
    completed,
    rounded,
)
from deployfit.measured.logs.names import model_word
from deployfit.units import GB

WORDS = frozenset({"done", "quantization", "model"})
STARTS = ("Files: [",)
MARKS = ("mlx_",)
ORDER = 1

_DONE = re.compile(r"prompt_tokens=(\d{1,9}) completion_tokens=(\d{1,9}).*peak_memory=(\d{1,9}\.\d{1,6})GB")
_KV_BITS = re.compile(r"bits=(\d{1,2})\b")


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what mlx-vlm printed beside what mlx_lm prints too; None if no line is its own."""
    program = ""
    model, settings = LoggedModel(), LoggedSettings()
    peak: LoggedPart | None = None
    for word, text in lines:
        if text.startswith("Files: ["):
            program = program or "mlx_vlm.generate"
            settings = settings._replace(vision=True) if "[]" not in text else settings
        elif word == "done":
            found = _DONE.match(text)
            if found:
                program = "mlx_vlm.server"
                prompt, answer = int(found[1]), int(found[2])
                figure = rounded(found[3], GB)
                if peak is None or figure.nbytes > peak.figure.nbytes:
                    peak = LoggedPart("peak", figure)
                    settings = settings._replace(prompt_tokens=prompt, context_tokens=prompt + answer)
        elif word == "quantization":
            bits = _KV_BITS.search(text)
            settings = settings._replace(kv_bits=int(bits[1])) if bits else settings
        elif "mlx_vlm" in text:
            words = words_of(text[text.index("mlx_vlm") :])
            program = program or words[0].removesuffix(":")[:20] if words else program
            program = "mlx_vlm.server" if "server" in program else "mlx_vlm.generate"
            if "--model" in words[:-1]:
                model = completed(model, LoggedModel(*model_word(words[words.index("--model") + 1])))
            settings = completed(settings, mlx_settings(words))
            settings = settings._replace(vision=True) if "--image" in words else settings
        elif word == "model":
            model = completed(model, LoggedModel(*model_word(text)))
    if not program:
        return None
    return EngineLog(
        program=program,
        runtime="mlx",
        model=model,
        settings=settings,
        mac=LoggedMac(device="Metal"),
        parts=(peak,) if peak else (),
    )
