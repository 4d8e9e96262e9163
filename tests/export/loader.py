"""The loader on the page of exported functions, as code."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
LOADER = next(
    block
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    if "def load(" in block
)
