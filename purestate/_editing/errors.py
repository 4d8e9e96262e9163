"""The errors of the tools for bundles."""

from purestate._core.errors import PurestateError


class BundleError(PurestateError, ValueError):
    """Bundles that do not belong together."""


class BundleTypeError(PurestateError, TypeError):
    """The value is not `{module: {name: value}}`."""


class PartError(PurestateError, AssertionError, ValueError):
    """The number of a part that does not exist."""


class PathError(BundleError, LookupError):
    """There is nothing at a path, or there is something already."""


class PredicateError(PurestateError, TypeError):
    """A predicate was called, or combined, in a way that has no meaning."""
