"""Names and calls inside f-strings: new code there must do without the quotes around it."""

import libcst as cst

from purestate._port.row import Left

_QUOTES = Left(
    "the new code needs quotes, and the f-string around it has used them up",
    "Give it a name in a line before.",
)


class FStrings(cst.CSTTransformer):
    """Knows which quotes the f-strings around a piece of code have used up."""

    def __init__(self) -> None:
        super().__init__()
        self._starts: list[str] = []

    def visit_FormattedString(self, node: cst.FormattedString) -> None:
        self._starts.append(node.quote)

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.BaseExpression:
        self._starts.pop()
        return updated_node

    def in_quotes(self, template: str) -> str | Left:
        """Returns code whose strings may stand in the f-strings around it."""
        if "'" not in template or "'" not in self._starts:
            return template
        return _QUOTES if '"' in self._starts or '"' in template else template.replace("'", '"')
