"""Models by the names of repositories, files and tags that measurements give, as `deployfit.words` reads them."""

from __future__ import annotations

from functools import lru_cache

from deployfit.catalogue import rows
from deployfit.errors import InputError
from deployfit.models import MODELS


@lru_cache(maxsize=2048)
def named_model(text: str) -> str:
    """Return the name of the model that a text means, "" if that is none or several.

    >>> named_model("qwen2.5-coder:14b"), named_model("DeepSeek-R1-Distill-Qwen-14B-Q4_K_M.gguf"), named_model("yi-9b")
    ('Qwen2.5-14B', 'DeepSeek-R1-Distill-Qwen-14B', '')
    """
    from deployfit.quants.publishers import PUBLISHERS  # what a text that names its model plainly need not pay for
    from deployfit.words.aliases import ALIASES
    from deployfit.words.reader import Reader

    try:
        return Reader(text, rows(MODELS), rows(PUBLISHERS), rows(ALIASES), tuple).named().model
    except InputError:
        return ""
