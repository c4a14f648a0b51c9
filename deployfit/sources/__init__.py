"""Where models come from beside the catalogue: the Hub, files, the stores of other programs; and this Mac."""
