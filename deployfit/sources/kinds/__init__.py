"""The kinds of sources: a module each, with `takes(text)` and `open_model(text, how)`. They are found by being here."""
