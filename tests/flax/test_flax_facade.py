"""flax is optional, and is not imported before it is asked for."""

import subprocess
import sys

import pytest

from purestate.experimental import flax as ps_flax

WITHOUT_FLAX = """
import sys
sys.modules["flax"] = None  # as if it were not installed
import purestate
import purestate.experimental.flax as ps_flax
from purestate._flax.errors import FlaxNotInstalledError

for name in ("lift", "Module"):
    try:
        getattr(ps_flax, name)
    except ImportError as error:
        assert isinstance(error, FlaxNotInstalledError), error
        assert name in str(error) and "pip install flax" in str(error), error
    else:
        raise AssertionError(name)
assert ps_flax.flatten_flax_to_haiku({"w": 1}) == {"~": {"w": 1}}
import inspect
inspect.stack()
"""

LAZILY = """
import sys
import purestate
import purestate.experimental.flax as ps_flax
ps_flax.flatten_flax_to_haiku({})
assert "flax" not in sys.modules
ps_flax.lift
assert "flax" in sys.modules
from purestate.experimental.flax import *
assert Module is ps_flax.Module and lift is ps_flax.lift
"""


@pytest.mark.parametrize("program", [WITHOUT_FLAX, LAZILY])
def test_in_an_interpreter_of_its_own(program: str):
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_names():
    assert all(getattr(ps_flax, name) is not None for name in ps_flax.__all__)
    with pytest.raises(AttributeError, match="lfit"):
        ps_flax.lfit  # noqa: B018
