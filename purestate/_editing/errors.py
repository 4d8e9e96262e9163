"""The errors of the tools for bundles."""

from purestate._core.errors import PurestateError


class BundleError(PurestateError, ValueError):
    """Bundles do not go together."""


class BundleTypeError(PurestateError, TypeError):
    """What was given is not `{module: {name: value}}`."""


class PartError(PurestateError, AssertionError, ValueError):
    """A value was put into a part that there is not."""
