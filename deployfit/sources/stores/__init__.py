"""The stores of other programs: a module each, with `NAME`, `roots(places)` and `entries(root)`, found by being here.

Only what stands in file systems and headers is read. What is wrong with a model is said in a line of its own, and the
rest goes on.
"""
