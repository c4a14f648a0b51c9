"""The data files, installed as the package `deployfit.data`; read them with `deployfit.catalog`."""
