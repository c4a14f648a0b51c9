"""Does this model fit my Mac, and how will it run? See the README."""

__version__ = "0.1.0"
