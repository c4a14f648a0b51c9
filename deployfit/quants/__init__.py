"""Quants: what `--quant` can name, from the tools' own recipes to publishers' files."""
