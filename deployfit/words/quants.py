"""Recipes as people type them: Q4, q4_k_m, 4-bit, int8, unsloth/Q4_K_M; each by the spelling of its format.

A lone Q with a number is llama.cpp's word, a number of bits is MLX's.
"""

from __future__ import annotations

import re
from functools import cache

from deployfit.errors import InputError, quoted
from deployfit.parameters import param
from deployfit.quants.weights import GGUF, MLX, SAFETENSORS
from deployfit.values import NamedTuple
from deployfit.words.text import cleaned

FORMAT_WORDS = {"gguf": GGUF, "mlx": MLX, "safetensors": SAFETENSORS}

# What a bare Q with a number stands for: the file that publishers offer first at these bits.
_USUAL = {"1": "Q1_0", "2": "Q2_K", "3": "Q3_K_M", "4": "Q4_K_M", "5": "Q5_K_M", "6": "Q6_K", "8": "Q8_0"}
_USUAL_K = {"2": "Q2_K", "3": "Q3_K_M", "4": "Q4_K_M", "5": "Q5_K_M", "6": "Q6_K"}
_IQ = {
    "1": "IQ1_S or IQ1_M",
    "2": "IQ2_XXS, IQ2_XS, IQ2_S or IQ2_M",
    "3": "IQ3_XXS, IQ3_XS, IQ3_S or IQ3_M",
    "4": "IQ4_XS or IQ4_NL",
}


class QuantWords(NamedTuple):
    """A recipe in the spelling of its format, with what the text says of format and publisher.

    `format` is None where several formats have a recipe of that name. `known` is False for a name of no known kind,
    which is kept as it was typed.
    """

    name: str
    format: str | None = None
    publisher: str | None = None
    known: bool = True

    @property
    def text(self) -> str:
        """As it is typed with its publisher.

        >>> QuantWords("Q4_K_M", "GGUF", "unsloth").text
        'unsloth:Q4_K_M'
        """
        return f"{self.publisher}:{self.name}" if self.publisher else self.name


def quant_words(text: str, format_name: str | None = None) -> QuantWords:
    """Return the recipe that a text names; one of no known kind is returned as it was typed.

    `format_name` is the format that is meant anyway, so that Q4 for MLX is 4bit. Raise InputError for a number alone
    and for a family of recipes.

    >>> quant_words("q4"), quant_words("mlx 4-bit").name, quant_words("unsloth/Q4_K_M").text
    (QuantWords(name='Q4_K_M', format='GGUF', publisher=None, known=True), '4bit', 'unsloth:Q4_K_M')
    """
    typed = cleaned(text)
    publisher, mark, name = _divided(typed)
    if mark and publisher.casefold() in FORMAT_WORDS:
        return quant_words(name, FORMAT_WORDS[publisher.casefold()])
    stated, bare = _without_format(folded(name))
    meant = stated or format_name
    if bare in _USUAL:
        raise InputError(f"{param('quant')} {quoted(text)}: {bare}bit is MLX's, {_USUAL[bare]} is GGUF's; say which")
    family = re.fullmatch(r"iq([1-4])", bare)
    if family:
        raise InputError(f"{param('quant')} {quoted(text)} is {_IQ[family[1]]}; say which")
    found = recognized(bare, meant)
    if found is None:
        return QuantWords(name, meant, publisher or None, known=False)
    if stated and found.format not in (None, stated):
        raise InputError(f"{param('quant')} {quoted(text)}: {found.name} is {found.format}'s, not {stated}'s")
    return found._replace(publisher=publisher or None)


def _divided(typed: str) -> tuple[str, str, str]:
    """Return publisher, mark and name; without a mark all is the name, or a recipe behind what is none."""
    for mark in ":/":
        publisher, found, name = typed.partition(mark)
        if found and publisher.strip() and name.strip():
            return publisher.strip(), found, name.strip()
    publisher, found, name = typed.partition(" ")
    if found and recognized(folded(name)) and not (recognized(folded(typed)) or _is_recipes_word(publisher)):
        return publisher, found, name
    return "", "", typed


def _is_recipes_word(word: str) -> bool:
    """Whether a word is no publisher but part of a recipe: a format, or what recipes begin with."""
    return word.casefold() in FORMAT_WORDS or bool(
        re.match(r"[0-9]|(?:ud|i1|i?q[1-8]|dwq|qat|awq|gptq)\b", word, re.IGNORECASE)
    )


def folded(name: str) -> str:
    """Return a recipe's name in lower case, with one mark between its words.

    >>> folded("UD-Q4 K_XL.gguf")
    'ud_q4_k_xl'
    """
    return re.sub(r"[-_ .]+", "_", name.casefold().removesuffix(".gguf")).strip("_")


def _without_format(name: str) -> tuple[str | None, str]:
    """Return the format that stands before or after a recipe, and the recipe."""
    for word, format_name in FORMAT_WORDS.items():
        if name.startswith(word) and name != word:
            return format_name, name.removeprefix(word).strip("_")
        if name.endswith("_" + word):
            return format_name, name.removesuffix("_" + word)
    return None, name


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    gguf = re.compile(
        r"(?P<ud>ud_?)?(?:i1_)?(?:"
        r"iq(?P<iq>[1-4])_?(?P<of_iq>xxs|xs|s|m|nl)"
        r"|q(?P<bits>[1-8])(?:_?(?P<legacy>[01])|(?:_?(?P<k>k))?(?:_?(?P<size>xxl|xl|xs|l|m|s))?)"
        r"|tq(?P<ternary>[12])_?0)"
    )
    bits = re.compile(r"(?:(?P<bits>[2-8]|16)_?bits?|int_?(?P<int>[2-8]))(?:_?gs?_?(?P<group>32|64|128))?")
    own = re.compile(
        r"q[2-8]_g(?:32|64|128)(?:_early)?"
        r"|mixed_?([2-4])_?([4-8])(?:_g(?:32|128))?"
        r"|(?:mx|nv)fp[48]_(?:early|experts)(?:_q[2-8]_g(?:32|64|128))?"
    )
    return gguf, bits, own


_OTHERS = {
    "bf16": QuantWords("BF16"),
    "bfloat16": QuantWords("BF16"),
    **dict.fromkeys(("f16", "fp16", "float16"), QuantWords("F16", GGUF)),
    **dict.fromkeys(("f32", "fp32", "float32"), QuantWords("F32", GGUF)),
    **dict.fromkeys(("mxfp4_moe", "mxfp4moe"), QuantWords("MXFP4_MOE", GGUF)),
    "mxfp4": QuantWords("mxfp4"),
    "nvfp4": QuantWords("nvfp4"),
    "mxfp8": QuantWords("mxfp8", MLX),
    "mxfp4_q4": QuantWords("MXFP4-Q4", MLX),
    "mxfp4_q8": QuantWords("MXFP4-Q8", MLX),
    "fp8": QuantWords("FP8", SAFETENSORS),
    **{f"gptq_int{bits}": QuantWords(f"GPTQ-Int{bits}", SAFETENSORS) for bits in (4, 8)},
}


def recognized(name: str, format_name: str | None = None) -> QuantWords | None:
    """Return the recipe that a folded text is, None if it is of no known kind; underscores separate.

    >>> recognized("ud_q4_k_xl").name, recognized("q4", MLX).name, recognized("27b")
    ('UD-Q4_K_XL', '4bit', None)
    """
    other = _OTHERS.get(name)
    if other is not None:
        return _in_format(other, format_name)
    gguf, bits, own = _patterns()
    if match := bits.fullmatch(name):
        return _of_bits(match["bits"] or match["int"], match["group"])
    if own.fullmatch(name):
        return QuantWords(re.sub(r"mixed_?([2-4])_?([4-8])", r"mixed_\1_\2", name), MLX)
    if format_name == MLX and re.fullmatch(r"q[2-8]", name):
        return _of_bits(name[1], None)
    match = gguf.fullmatch(name)
    spelled = _gguf_name(match) if match else ""
    return QuantWords(spelled, GGUF) if spelled else None


def _of_bits(bits: str, group: str | None) -> QuantWords:
    if bits == "16":
        return QuantWords("bf16", MLX)
    return QuantWords(f"q{bits}_g{group}" if group else f"{bits}bit", MLX)


def _in_format(found: QuantWords, format_name: str | None) -> QuantWords:
    """Return the recipe as a format spells it: BF16 and bf16, NVFP4 and nvfp4 are two files of one name."""
    if format_name is None or found.format is not None:
        return found
    return QuantWords(found.name.lower() if format_name == MLX else found.name.upper(), format_name)


def _gguf_name(match: re.Match[str]) -> str:
    """Return llama.cpp's spelling, "" where the text is none."""
    prefix = "UD-" if match["ud"] else ""
    if match["iq"]:
        return f"{prefix}IQ{match['iq']}_{match['of_iq'].upper()}"
    if match["ternary"]:
        return f"{prefix}TQ{match['ternary']}_0"
    bits, size = match["bits"], match["size"]
    if match["legacy"]:
        return f"{prefix}Q{bits}_{match['legacy']}"
    if size:
        return f"{prefix}Q{bits}_K_{size.upper()}"
    if match["k"]:
        return f"{prefix}Q{bits}_K" if prefix or bits not in _USUAL_K else _USUAL_K[bits]
    return "" if prefix else _USUAL.get(bits, "")
