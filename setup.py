"""Which packages there are: every folder of deployfit, and the data beside it."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["deployfit", "deployfit.*"]), "deployfit.data"])
