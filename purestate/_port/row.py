"""One line of the table of TensorFlow's names."""

from collections.abc import Callable
from dataclasses import dataclass, field

from purestate._port.signatures import Bound


@dataclass(frozen=True)
class Left:
    """A call that is not rewritten: why, and what to write."""

    reason: str
    instead: str = ""


@dataclass(frozen=True)
class Code:
    """What a rule makes of a call: a template, and a remark if there is something to know."""

    template: str
    remark: str = ""


Rule = Callable[[Bound], str | Code | Left]


@dataclass(frozen=True)
class Row:
    """How one name of TensorFlow is written in JAX.

    Attributes:
      name: the name below `tf`, such as "reduce_mean".
      signature: the parameters of the function; empty for a type or a constant.
      emit: a template of the call, or a rule that returns one for a bound call.
      mention: what the bare name becomes, if it is passed on; "" if only calls are rewritten.
      also: its other names.
      old_names: the names that arguments had before.
      remark: what differs and cannot be seen.
      drops: arguments that need no place in the code: a rule reads them, or they change nothing.
    """

    name: str
    signature: str = ""
    emit: str | Rule = ""
    mention: str = ""
    also: tuple[str, ...] = ()
    old_names: dict[str, str] = field(default_factory=dict[str, str])
    remark: str = ""
    drops: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the function."""
        return (self.name, *self.also)


def row(
    name: str,
    signature: str = "",
    emit: str | Rule = "",
    mention: str = "",
    *,
    also: str = "",
    old: str = "",
    remark: str = "",
    drops: str = "",
) -> Row:
    """Makes a `Row` of words: `also="math.abs"`, `old="keep_dims=keepdims"`."""
    pairs = [pair.partition("=") for pair in old.split()]
    return Row(
        name=name,
        signature=signature,
        emit=emit,
        mention=mention,
        also=tuple(also.split()),
        old_names={before: after for before, _, after in pairs},
        remark=remark,
        drops=tuple(drops.split()),
    )
