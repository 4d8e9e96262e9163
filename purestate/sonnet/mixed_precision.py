"""Sonnet's mixed precision."""

from purestate._sonnet.mixed_precision import disable, enable, get_mode, modes, scope

__all__ = ["disable", "enable", "get_mode", "modes", "scope"]
