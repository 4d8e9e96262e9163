"""Saves params and state in safetensors files, and loads them."""

from purestate._checkpoint.fitting import LoadReport
from purestate._checkpoint.load import load_safetensors, read_metadata
from purestate._checkpoint.names import from_flat, to_flat
from purestate._checkpoint.pickles import load_pickle
from purestate._checkpoint.save import save_safetensors

__all__ = [
    "LoadReport",
    "from_flat",
    "load_pickle",
    "load_safetensors",
    "read_metadata",
    "save_safetensors",
    "to_flat",
]
