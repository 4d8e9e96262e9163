"""Which library a program is written for."""

import re

SOURCES = ("haiku", "sonnet")


def detect(text: str) -> str | None:
    """Returns "haiku" or "sonnet" by what a program imports, or None if it is neither's."""

    def imports(package: str) -> bool:
        pattern = rf"^[ \t]*(import|from)[ \t]+([\w. ]+,[ \t]*)*{package}\b"
        return re.search(pattern, text, re.MULTILINE) is not None

    if imports("haiku"):
        return "haiku"
    if imports("sonnet") or imports("tensorflow"):
        return "sonnet"
    return "haiku" if imports("jax") else None
