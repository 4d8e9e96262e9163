"""Tools for bundles of variables, `{module: {name: array}}`, and other trees."""

from purestate._editing.bundles import filter, is_subset, map, merge, partition, partition_n, pop, traverse  # noqa: A004
from purestate._editing.dicts import to_haiku_dict, to_immutable_dict, to_mutable_dict
from purestate._editing.sizes import tree_bytes, tree_size

__all__ = [
    "filter",
    "is_subset",
    "map",
    "merge",
    "partition",
    "partition_n",
    "pop",
    "to_haiku_dict",
    "to_immutable_dict",
    "to_mutable_dict",
    "traverse",
    "tree_bytes",
    "tree_size",
]
