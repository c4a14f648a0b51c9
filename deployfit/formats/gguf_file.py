"""A GGUF file as a whole: what stands in front of the tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployfit.formats.gguf import ALIGNMENT, GgufSource, tensor_data_bytes
from deployfit.formats.gguf_recipes import TypedClass
from deployfit.tables import Table
from deployfit.units import ceil_to
from deployfit.values import NamedTuple


class TokenizerRow(NamedTuple):
    """A row of `data/tokenizers.csv`: what the key-values of a file take, nearly all of them tokens and merges."""

    tokenizer: str
    vocab: int
    key_value_bytes: int


TOKENIZERS = Table(
    "tokenizers.csv",
    ["tokenizer", "vocab", "key_value_bytes"],
    lambda row: TokenizerRow(row.text("tokenizer"), row.number("vocab"), row.number("key_value_bytes")),
)


class KeyValues(NamedTuple):
    """What the key-values take; `is_known` if files with this tokenizer were seen."""

    nbytes: int
    is_known: bool


def key_values(tokenizer: str, vocab: int, rows: Sequence[TokenizerRow]) -> KeyValues:
    """Return the key-values of a tokenizer; one without a name is taken for the known one with as many tokens.

    Of an unknown one, they are in proportion to those of the known one that has nearly as many tokens.
    """
    known = [row for row in rows if tokenizer == row.tokenizer or (not tokenizer and vocab == row.vocab)]
    if len(known) == 1:
        return KeyValues(known[0].key_value_bytes, True)
    nearest = min(rows, key=lambda row: abs(row.vocab - vocab))
    return KeyValues(nearest.key_value_bytes * vocab // nearest.vocab, False)


def header_bytes(source: GgufSource, key_value_bytes: int) -> int:
    """Return the bytes of a file that are not tensors."""
    return ceil_to(key_value_bytes + source.tensor_info_bytes, ALIGNMENT)


def file_bytes(source: GgufSource, typed: Iterable[TypedClass], key_value_bytes: int) -> int:
    """Return the size of the file: header, padding, tensors."""
    sizes = ((each.nbytes, len(each.layers)) for each in typed)
    return header_bytes(source, key_value_bytes) + tensor_data_bytes(sizes)
