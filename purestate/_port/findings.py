"""What the porting tool says about a program: the rest for you, and remarks."""

from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["left", "remark"]


@dataclass(frozen=True)
class Finding:
    """One thing that the tool found at a line.

    Attributes:
      line: the line in the program that was given.
      code: the code that stands there.
      reason: why it is not rewritten; of a remark, what differs.
      instead: what to write.
      kind: "left" if it is not rewritten, "remark" if there is nothing to do.
      new_line: the line in the program that came out.
    """

    line: int
    code: str
    reason: str
    instead: str = ""
    kind: Kind = "left"
    new_line: int = 0

    def at(self, line: int, new_line: int) -> "Finding":
        """Returns the same finding at other lines."""
        return replace(self, line=line, new_line=new_line)

    def __str__(self) -> str:
        return f"line {self.line}: {self.told()}"

    def told(self) -> str:
        """Returns the finding without its line, as one or two sentences."""
        if self.kind == "remark":
            return f"remark: `{self.code}`: {self.reason}"
        code = f"`{self.code}` is left: " if self.code else ""
        return f"{code}{self.reason.rstrip('.')}. {self.instead}".strip()


@dataclass(frozen=True)
class PortResult:
    """A program that was ported.

    Attributes:
      text: the new program.
      remaining: the rest, which you have to write, in order of lines.
      remarks: what to know about the lines that were rewritten.
      rewritten: how often each name was rewritten, such as `{"tf.reduce_mean": 3}`.
    """

    text: str
    remaining: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()
    rewritten: dict[str, int] = field(default_factory=dict[str, int])
