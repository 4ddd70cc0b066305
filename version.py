"""The version, for records: that of the installed package, which its build took from the tags of git."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sodiate")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"
