"""The Hugging Face Hub: what is in a repository, and the first bytes of its files."""

import contextlib
import io
import os
import warnings

from deployfit.errors import InputError, quoted

# huggingface_hub reads it when it is imported: deployfit asks the Hub what the user asked, and tells it nothing else.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:  # here, so that what it makes of its variables is said in one line, by us and on stderr
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub import constants as constants
        from huggingface_hub.utils import build_hf_headers as build_hf_headers
        from huggingface_hub.utils import get_session as get_session
        from huggingface_hub.utils import validate_repo_id as validate_repo_id
except (ValueError, OverflowError) as error:
    raise InputError(
        f"HF_ENDPOINT, or another variable of huggingface_hub, cannot be read: {quoted(error)}; mend or unset it"
    ) from None

constants.HF_HUB_DISABLE_TELEMETRY = True  # a program that imported it before us must not make it tell more
