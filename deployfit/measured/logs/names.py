"""Names in a log that may be repeated: base names of model files, public repositories, recipes. Never a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

MOST_CHARACTERS = 120

_FILE = re.compile(r"[\w.+-]+\.gguf", re.ASCII)
_HUB_CACHE = re.compile(r"models--([\w.-]{1,96}?)--([\w.-]{1,96})", re.ASCII)
_LM_STUDIO = re.compile(
    r"(?:\.lmstudio|lm-studio)[/\\]+(?:hub[/\\]+)?models[/\\]+([\w.-]{1,96})[/\\]+([\w.-]{1,96})", re.ASCII
)
_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*)/([\w.-]+)", re.ASCII)
_BLOB = re.compile(r"sha256[-:][0-9a-f]{16,}")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")


def file_of(path: str) -> str:
    """Return the base name of a path if it is a model file's, "" otherwise.

    >>> file_of("/Users/ann/models/Qwen3.5-9B-Q4_K_M-00001-of-00002.gguf"), file_of("/Users/ann/diary.txt")
    ('Qwen3.5-9B-Q4_K_M.gguf', '')
    """
    name = re.split(r"[/\\]", path.strip().strip("'\""))[-1]
    if len(name) > MOST_CHARACTERS or not _FILE.fullmatch(name):
        return ""
    return _SHARD.sub("", name)


def repository_of(path: str) -> str:
    """Return the public repository that a path lies in: the Hub's cache, or LM Studio's models.

    >>> repository_of("/Users/ann/.cache/huggingface/hub/models--unsloth--Qwen3.6-27B-GGUF/snapshots/1/a.gguf")
    'unsloth/Qwen3.6-27B-GGUF'
    """
    found = _HUB_CACHE.search(path) or _LM_STUDIO.search(path)
    return f"{found[1]}/{found[2]}"[:MOST_CHARACTERS] if found else ""


def model_word(text: str) -> tuple[str, str]:
    """Return (file, repository) of what was given as a model: a path, a file, or a repository.

    >>> model_word("mlx-community/Qwen3.5-27B-4bit"), model_word("/home/ann/models/mine")
    (('', 'mlx-community/Qwen3.5-27B-4bit'), ('', ''))
    """
    word = text.strip().strip("'\"")
    file, repository = file_of(word), repository_of(word)
    plain = _REPOSITORY.fullmatch(word.partition(":")[0])
    if plain and not repository and not file and len(word) <= MOST_CHARACTERS:
        repository = plain[0]
    return file, repository


def said_name(text: str) -> str:
    """Return a model's name as a file's header or a server gives it: one line, no path, not too long.

    >>> said_name("/Users/ann/Qwen3.5 9B"), said_name("sha256-1194192cf2a187eb02722edcc3f77b11")
    ('Qwen3.5 9B', '')
    """
    name = re.split(r"[/\\]", text.strip().strip("'\""))[-1]
    if _BLOB.search(name) or not name.isprintable():
        return ""
    return name[:MOST_CHARACTERS]


# Of names that the catalogue does not have: families, and what stands beside them.
_OTHER_WORDS = """
    aya baichuan bielik command cogito codestral dolphin ernie exaone falcon glm gpt hermes hunyuan internlm jamba
    magistral mamba mathstral mimo minicpm neo nous olmo openchat orca pixtral qwq rnj rwkv smollm solar stablelm
    starcoder tulu vicuna wizard yi zephyr
    abliterated awq base beta bit chat coder code distill dpo dwq dynamic embedding experimental fast final fp gguf ggml
    gptq heretic hf imatrix instruct int it large lite long math medium mini mix mlx moe mtp nano new omni opus oss
    plus preview pro reasoning sft small spec super text think thinking tiny turbo uncensored v vision vl
    a b bf bpw e f ft g h iq k kv l m mb mm mx mxfp nl nvfp oq p q r s t tq ud x xl xs xxs
"""
_LETTERS = re.compile(r"[^\W\d_]+")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+")


@cache
def _public_words() -> frozenset[str]:
    from deployfit.catalogue import rows
    from deployfit.models import MODELS

    named = " ".join(f"{row.name} {row.hub_repo} {row.family}" for row in rows(MODELS))
    return frozenset(_LETTERS.findall(f"{_OTHER_WORDS} {named}".casefold()))


def public_name(text: str) -> str:
    """Return a name if all of its words are those of published models, "" otherwise: it may be anything.

    >>> public_name("Phi 3.5 Mini Instruct"), public_name("ann-Qwen3.5-9B-Q4_K_M.gguf"), public_name("192.168.0.7")
    ('Phi 3.5 Mini Instruct', '', '')
    """
    words = _LETTERS.findall(text.casefold())
    known = words and _public_words().issuperset(words) and not _ADDRESS.search(text)
    return text if known else ""


# What llama.cpp calls a file's type, where cutting at the hyphen does not give the recipe's name.
_FILE_TYPES: Mapping[str, str] = {
    "all F32": "F32",
    "Q2_K - Medium": "Q2_K",
    "MXFP4 MoE": "MXFP4_MOE",
    "IQ3_S mix - 3.66 bpw": "IQ3_M",
}
_SIZES: Mapping[str, str] = {"Small": "S", "Medium": "M", "Large": "L"}


def recipe_of(file_type: str) -> str:
    """Return the recipe that llama.cpp's name of a file type means; "(guessed) " before it is left out.

    >>> recipe_of("Q4_K - Medium"), recipe_of("(guessed) IQ2_XXS - 2.0625 bpw"), recipe_of("Q2_K - Medium")
    ('Q4_K_M', 'IQ2_XXS', 'Q2_K')
    """
    name = file_type.strip().removeprefix("(guessed)").strip()
    if name in _FILE_TYPES:
        return _FILE_TYPES[name]
    recipe, _, kind = name.partition(" - ")
    recipe += f"_{_SIZES[kind]}" if kind in _SIZES else ""
    return recipe if re.fullmatch(r"[A-Z0-9_]{2,12}", recipe) else ""
