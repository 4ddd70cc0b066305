"""sodiate: density-functional theory of sodium on two-dimensional electrodes.

``sodiate.plan`` plans a campaign, ``sodiate.Results`` opens what is recorded; all is imported when it is asked for,
so that ``import sodiate`` costs nothing, and pytest can read this file in a checkout, where it is of no package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import SodiateError
    from .version import __version__

_LAZY = {
    "plan": "workflows.plan",
    "Results": "workflows.results.results",
    "SodiateError": "errors",
    "__version__": "version",
}

__all__ = ["Results", "SodiateError", "__version__", "plan"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sodiate' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
