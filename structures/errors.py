"""The error of everything that handles structures."""

from ..errors import SodiateError


class StructureError(SodiateError):
    """A host, defect or Na site cannot be built, read or found."""
