"""The Hugging Face Hub: what is in a repository, and the first bytes of its files."""

import contextlib
import io
import os

from deployfit.errors import InputError, quoted

# huggingface_hub reads it when it is imported: deployfit asks the Hub what the user asked, and tells it nothing else.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:  # here, so that what it makes of its variables is said in one line, by us and on stderr
    with contextlib.redirect_stdout(io.StringIO()):
        from huggingface_hub import HfApi as HfApi
except ValueError as error:
    raise InputError(
        f"HF_ENDPOINT, or another variable of huggingface_hub, cannot be read: {quoted(error)}; mend or unset it"
    ) from None
