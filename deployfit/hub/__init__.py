"""The Hugging Face Hub: what is in a repository, and the first bytes of its files."""

import os

# huggingface_hub reads it when it is imported: deployfit asks the Hub what the user asked, and tells it nothing else.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
