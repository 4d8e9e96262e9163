"""The table of TensorFlow's names, and what to do about names that are not in it."""

from functools import cache

from purestate._port import table_arrays, table_math, table_nn, table_types
from purestate._port.advice import ADVICE
from purestate._port.row import Left, Row

ROWS: tuple[Row, ...] = (
    *table_types.ROWS,
    *table_math.ROWS,
    *table_arrays.ROWS,
    *table_nn.ROWS,
)


@cache
def rows_by_name() -> dict[str, Row]:
    """Returns the table by each name."""
    return {name: row for row in ROWS for name in row.names}


def find_row(name: str) -> Row | None:
    """Returns the entry of a name such as "tf.reduce_mean", or None."""
    return rows_by_name().get(name.removeprefix("tf."))


def advice_on(name: str) -> Left:
    """Says why a name is not rewritten, and what to write."""
    parts = name.removeprefix("tf.").split(".")
    for end in range(len(parts), 0, -1):
        if left := ADVICE.get(".".join(parts[:end])):
            return left
    return Left("this tool has no rule for it", "Write it with `jax.numpy`.")
