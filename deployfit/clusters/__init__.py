"""How engines split a model over several Macs: a file per engine, found by its name."""
