"""What tests of error messages share."""

from collections.abc import Callable
from typing import Any

import pytest


def raises(error: type[Exception], *words: str, call: Callable[[], Any]) -> BaseException:
    """Checks that a call raises an error whose message has all of these words, and is short."""
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 1000
    return caught.value
