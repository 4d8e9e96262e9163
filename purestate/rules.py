"""Rules for the modules of a function, by path; see `ps.configured`."""

from purestate._rules.data import from_data, load, save, to_data
from purestate._rules.explain import ExplainedRule, Explanation
from purestate._rules.rule import (
    Rule,
    axes,
    fp8_training,
    freeze,
    lora,
    ops,
    out_sharding,
    precision,
    quantize,
    remat,
)

__all__ = [
    "ExplainedRule",
    "Explanation",
    "Rule",
    "axes",
    "fp8_training",
    "freeze",
    "from_data",
    "load",
    "lora",
    "ops",
    "out_sharding",
    "precision",
    "quantize",
    "remat",
    "save",
    "to_data",
]
