"""`python -m deployfit`."""

from deployfit.cli import main

main()
