"""The page: what was computed here, written down as sums and straight lines that a browser only has to add up."""
