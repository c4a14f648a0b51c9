"""JSON Schemas of the documents: what a field is called everywhere it means everywhere, and is said once."""
