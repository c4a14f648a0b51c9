"""The command line: parses words, calls, prints. The only package that knows everybody, and click."""

from deployfit.cli.app import cli, main

__all__ = ["cli", "main"]
