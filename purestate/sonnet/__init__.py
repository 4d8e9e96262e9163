"""Sonnet 2 over JAX."""

from purestate._sonnet.module import Module, allow_empty_variables, no_name_scope
from purestate._sonnet.once import once
from purestate._sonnet.outside import set_seed
from purestate._sonnet.traversal import attribute_paths
from purestate._sonnet.variable import Variable
