"""Splits trees of variables by predicates, and edits single places of them."""

from purestate._editing.aliases import aliases
from purestate._editing.edits import Edited, delete, insert, rename
from purestate._editing.equality import trees_equal
from purestate._editing.holes import (
    combine,
    filter,  # noqa: A004
    filter_with_path,
    partition,
    partition_with_path,
)
from purestate._editing.lora_names import of_lora
from purestate._editing.place import Place, at
from purestate._editing.predicate import Predicate
from purestate._editing.predicates import (
    glob,
    has_dtype,
    has_ndim,
    larger_than,
    of_module,
    of_spec,
    regex,
)
from purestate._editing.transplant import transplant

__all__ = [
    "Edited",
    "Place",
    "Predicate",
    "aliases",
    "at",
    "combine",
    "delete",
    "filter",
    "filter_with_path",
    "glob",
    "has_dtype",
    "has_ndim",
    "insert",
    "larger_than",
    "of_lora",
    "of_module",
    "of_spec",
    "partition",
    "partition_with_path",
    "regex",
    "rename",
    "transplant",
    "trees_equal",
]
