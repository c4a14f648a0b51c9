"""A separate model that drafts, by its name and file."""

from __future__ import annotations

from deployfit.errors import InputError, quoted
from deployfit.parameters import param
from deployfit.quants.lookup import find_quant
from deployfit.quants.weights import Options
from deployfit.questions.resolve import model_and_file
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import DraftModel


def draft_model_of(text: str, runtime: str) -> DraftModel:
    """Return the model that a text names with its file; raise InputError if either is not known.

    >>> draft_model_of("Qwen3.5-0.8B:Q8_0", "llama.cpp").weights.text_bytes
    800317440
    """
    model, said = model_and_file(text)
    if not said.quant_text:
        usual = "Q8_0" if registry.format_of(runtime) == "GGUF" else "8bit"
        raise InputError(f"{param('draft_model')} {quoted(text)}: which file? Say {quoted(f'{model.name}:{usual}')}")
    try:
        quant = find_quant(said.quant_text, runtime)
    except InputError:
        quant = find_quant(said.quant or "", runtime)
    return DraftModel(f"{model.name}:{said.quant}", model.blueprint, quant.weights(model, Options()))
