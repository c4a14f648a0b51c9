"""Formats: weights at rest, to the byte."""
