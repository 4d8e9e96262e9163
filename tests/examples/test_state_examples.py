"""Each example of state prints the numbers that Treex, MLAX or Flax prints for the example it comes from."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "state"


def lines_of(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Runs an example; returns what it prints."""
    spec = importlib.util.spec_from_file_location(f"state_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    capsys.readouterr()
    module.main()
    return capsys.readouterr().out.splitlines()


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", line)]


def check(lines: list[str], expected: list[list[float]], atol: float = 2e-6) -> None:
    assert len(lines) == len(expected)
    for line, row in zip(lines, expected, strict=True):
        np.testing.assert_allclose(numbers(line), row, rtol=2e-6, atol=atol, err_msg=line)


def test_every_example_is_tested():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in FOLDER.glob("*.py")} <= tests
    for path in FOLDER.glob("*.py"):
        assert f"Run: python examples/state/{path.name}" in " ".join(path.read_text().split())


def test_average(capsys):
    table = [[2.5, 4, 10], [6.6666665, 6, 40], [6.428571, 7, 45]]
    check(lines_of("average", capsys), [*table, [2.5], *table, [0]])


def test_dropout_with_key(capsys):
    first, *lines = lines_of("dropout_with_key", capsys)
    assert first == "['params', 'rng']"
    assert len(lines) == 3
    for line in lines:
        assert set(numbers(line)) == {0, 2}
        assert line.endswith("same key, same mask: True split as said: True")


def test_optimizer(capsys):
    tables = {
        "sgd": [[0.99, 2.02, 0.4], [0.98, 2.04, 0.3], [0.97, 2.06, 0.2]],
        "momentum": [[0.99, 2.02, 0.4], [0.971, 2.058, 0.21], [0.9439, 2.1122, -0.061]],
        "adam": [
            [0.9000007, 2.0999994, 0.4000006],
            [0.8000017, 2.1999984, 0.3000017],
            [0.7000021, 2.2999980, 0.2000020],
        ],
    }
    *lines, error = lines_of("optimizer", capsys)
    for i, name in enumerate(tables):
        six = lines[6 * i : 6 * i + 6]
        assert [line.split()[:2] for line in six] == [[name, "outside"]] * 3 + [
            [name, "inside"]
        ] * 3
        check(six, tables[name] * 2)
    assert error.startswith("ViewError This Optimizer has no state yet.")


def test_output_the_module(capsys):
    check(lines_of("output_the_module", capsys), [[48.5, 31, 44, 13, 0, 1]] * 2)


def test_fields(capsys):
    lines = lines_of("fields", capsys)
    assert lines[:4] == [
        "a ok (3, 4) float32",
        "b ok (1, 2, 3) float32",
        "e ok (3, 4) float32",
        "trained: {'a': True, 'b': False}",
    ]
    words = [
        "c .*'bar/c'.*str",
        "d .*'bar/d'.*contains a Module",
        "f .*'bar/f'.*str",
        "g .*'bar/g'.*contains a Module",
    ]
    words += [
        "i .*a str is not a valid state",
        "m ok",
        "m, strict .*hyperparameter 'm' of type list",
    ]
    for line, pattern in zip(lines[4:], words, strict=True):
        assert re.match(pattern, line), line


def test_set_up(capsys):
    lines = lines_of("set_up", capsys)
    assert [line for line in lines if line in ("set_up", "forward")] == [
        "set_up",
        "forward",
        "forward",
    ] * 4
    before, after, out, rest, _ = (line for line in lines if line not in ("set_up", "forward"))
    check([before, after], [[0, 0, 1, 1], [0.2, 0.4, 1.0, 1.3]])
    check([out, rest], [[-0.99999505, -0.99999875], [0.99999505, 0.99999875]])
    check(lines[-1:], [[0.2, 0.4, 1.0, 1.3]])


def test_surgery(capsys):
    lines = dict(line.split(" ", 1) for line in lines_of("surgery", capsys))
    kernel = "{'series': {'moving_mean': None}, 'series/linear': {'b': None, 'w': (4, 3)}}"
    assert lines["filter"] == kernel
    assert (
        lines["filter_with_path"]
        == "{'series': {'moving_mean': None}, 'series/linear': {'b': (3,), 'w': None}}"
    )
    others = "{'series': {'moving_mean': (3,)}, 'series/linear': {'b': (3,), 'w': None}}"
    assert lines["partition"] == f"{kernel} {others}"
    assert "False" not in lines["combine"]
    trained = "{'series': {'moving_mean': None}, 'series/linear': {'b': (3,), 'w': (4, 3)}}"
    assert lines["grads"] == lines["trainable"] == trained
    assert lines["moving"] == "mean was [0. 0. 0.] and is right now: True"
    assert lines["object"] == f"{kernel} True"


# Step, loss, bias and mean.
BIAS_ADDER = [
    [0, 190.230000, 0.324, 0.432, 0.648, 0.3, 0.4, 0.6],
    [1, 132.183132, 0.57672, 0.76896, 1.15344, 0.57, 0.76, 1.14],
    [2, 94.724367, 0.769954, 1.026605, 1.539907, 0.813, 1.084, 1.626],
    [3, 71.199360, 0.913755, 1.218340, 1.827510, 1.0317, 1.3756, 2.0634],
    [4, 56.958720, 1.016681, 1.355575, 2.033362, 1.22853, 1.63804, 2.45706],
    [5, 48.784630, 1.085998, 1.447997, 2.171996, 1.405677, 1.874236, 2.811354],
    [6, 44.475098, 1.127865, 1.503820, 2.255730, 1.565109, 2.086812, 3.130219],
    [7, 42.543799, 1.147490, 1.529986, 2.294979, 1.708598, 2.278131, 3.417197],
    [8, 42.004437, 1.149262, 1.532350, 2.298524, 1.837739, 2.450318, 3.675477],
    [9, 42.216667, 1.136875, 1.515833, 2.273750, 1.953965, 2.605286, 3.907929],
]


def test_bias_adder(capsys):
    lines = lines_of("bias_adder", capsys)
    check(lines[:10], BIAS_ADDER)
    assert len(lines) == 20
    check(lines[19:], [[9, 0.053024497, 0.41706535, 0.41706535, 0.65132153, 0.65132153]])
