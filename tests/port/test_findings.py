"""What the tool reports: the line, what stands there, and what to write."""

from purestate.port import Finding, PortResult, port_source

PROGRAM = """import tensorflow as tf

data = tf.data.Dataset.range(3)
"""


def test_what_is_left_has_its_line_and_advice():
    result = port_source(PROGRAM, "sonnet")
    assert isinstance(result, PortResult)
    (left,) = result.remaining
    assert isinstance(left, Finding)
    assert left.line == 3
    assert "tf.data.Dataset.range(3)" in str(left)
    assert result.text == PROGRAM
