"""A config.json without weights: its model, and how its `quantization` block says that the weights are packed."""

from __future__ import annotations

import os

from deployfit import catalogue
from deployfit.architectures.registry import read_blueprint
from deployfit.errors import DataError, InputError, quoted
from deployfit.formats.untrusted import read_object
from deployfit.models import own_model
from deployfit.printable import printable
from deployfit.quants.configured import ConfiguredQuant
from deployfit.quants.quantization import NOT_SAID, quantized_by, read_quantization
from deployfit.sources.headers import MOST_CONFIG_BYTES
from deployfit.sources.local import first_bytes
from deployfit.sources.opened import Opened


def open_config(path: str) -> Opened:
    """Return what a config.json describes; raise InputError or DataError for what is none."""
    place = quoted(os.path.basename(path))
    content = first_bytes(path, MOST_CONFIG_BYTES + 1)
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or len(content) > MOST_CONFIG_BYTES:
        raise InputError(f"{place}: no model; give a .gguf file, a folder of safetensors, or a config.json")
    config = read_object(content, place)
    model_type = config.get("model_type")
    architecture = printable(model_type) if isinstance(model_type, str) else ""
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    name = printable(folder or os.path.basename(path))
    shown = printable(path)
    try:
        model = own_model(name, read_blueprint(config, place, catalogue.architectures()), shown)
    except DataError:
        raise
    except InputError as error:
        raise InputError(f"{error.marked}; give the model's file, and its weights are counted all the same") from None
    quantization = read_quantization(config)
    quant = None if quantization == NOT_SAID else ConfiguredQuant(shown, quantization)
    method = quantized_by(config)
    notes = (f"config.json says that it is quantized with {method}, which no runtime of a Mac loads",) if method else ()
    return Opened(shown, architecture, model, quant, None, notes)
