"""Tools for bundles, nested dicts `{module: {name: array}}`, and other trees."""

from purestate._editing.bundles import (
    filter,  # noqa: A004
    is_subset,
    map,  # noqa: A004
    merge,
    partition,
    partition_n,
    pop,
    traverse,
)
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
