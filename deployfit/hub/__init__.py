"""The Hugging Face Hub: what is in a repository, and the first bytes of its files."""
