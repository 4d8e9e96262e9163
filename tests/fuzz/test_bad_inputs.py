"""Wrong values in every place of the API end in an error that tells, and leave nothing behind; see `bad_inputs.py`."""

import pytest

from tests.fuzz.bad_inputs import CALLS, LEFT_OUT, VALUES, outcome_of

pytestmark = pytest.mark.filterwarnings("ignore")  # what JAX and numpy have to say of odd values

# What is told apart soonest: no number, no array, no rows, no key.
TELLING = ("None", "-1", "word", "dict of words", "function", "object array", "no columns", "typed key")

# Where wrong values still end in an error of Python, or as they do in dm-haiku in numbers that are none.
KNOWN = {
    "BatchNorm(...)(x)": "AttributeError, NaN in _layers/batch_norm.py",
    "BatchNorm(axis)": "NameError in _layers/batch_norm.py",
    "BatchNorm(decay_rate)": "NaN",
    "Conv1D(feature_group_count)": "ZeroDivisionError in _layers/conv.py",
    "Conv1D(padding)": "IndexError, KeyError in _layers/padding.py",
    "Flatten()(x)": "AttributeError in _layers/reshape.py",
    "LSTM(state)": "AttributeError in _layers/recurrent/lstm.py",
    "Linear(...)(x)": "AttributeError in _layers/linear.py",
    "MLP(...)(x)": "AttributeError in _layers/linear.py",
    "MLP(activation)": "AttributeError in _layers/linear.py",
    "MultiHeadAttention(mask)": "AttributeError in _layers/attention.py",
    "apply(x)": "AttributeError, NaN in _layers/linear.py",
    "bind(params)": "AttributeError in _views/model.py",
    "cond(pred)": "AttributeError in _lifted/control_flow.py",
    "config.set(rng_reserve_size)": "IndexError in _core/keys.py",
    "data_structures.to_haiku_dict(tree)": "AttributeError in _editing/dicts.py",
    "data_structures.to_immutable_dict(tree)": "AttributeError in _editing/dicts.py",
    "data_structures.to_mutable_dict(tree)": "AttributeError in _editing/dicts.py",
    "data_structures.tree_bytes(tree)": "AttributeError in _editing/sizes.py",
    "data_structures.tree_size(tree)": "AttributeError in _editing/sizes.py",
    "init(x)": "AttributeError, NaN in _layers/linear.py",
    "intercept_methods(f)": "RecursionError in _core/hooks.py",
    "layer_stack(num_layers)": "MLIRError in _lifted/layer_stack.py",
    "lift(f returns)": "AttributeError in _lifted/lift.py",
    "map(xs)": "AttributeError, IndexError in _lifted/scan.py",
    "multi_transform(f returns)": "IndexError, KeyError in _core/multi_transform.py",
    "name_scope(name)": "AttributeError in _core/path.py",
    "scan(f returns)": "AssertionError in _lifted/scan.py",
    "scan(xs)": "AttributeError, IndexError in _lifted/scan.py",
    "surgery.at(path)": "KeyError in _editing/paths.py",
    "surgery.glob(pattern)": "KeyError in _editing/predicates.py",
    "surgery.insert(path)": "IndexError, KeyError in _editing/paths.py",
    "switch(index)": "AttributeError in _lifted/control_flow.py",
    "with_empty_state(f)": "AttributeError in _core/transform.py",
    "without_state(f)": "AttributeError in _core/transform.py",
}


def _wrong(call, values):
    kinds = {value: outcome_of(call, value) for value in values if (call, value) not in LEFT_OUT}
    return {value: kind for value, kind in kinds.items() if kind.startswith("wrong")}


def test_telling_values():
    found = {call: wrong for call in CALLS if call not in KNOWN and (wrong := _wrong(call, TELLING))}
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, marks=pytest.mark.xfail(strict=True, reason=KNOWN[call])) if call in KNOWN else call
        for call in CALLS
    ],
)
def test_all_values(call):
    assert not _wrong(call, VALUES)
