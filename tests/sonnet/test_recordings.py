"""The recordings have what the tables have, and the tables what the API has."""

import re
from pathlib import Path

import pytest

from tests.sonnet.cases import ERRORS, GROUPS
from tests.sonnet.cases_distributions import INITIALIZERS, LAYERS
from tests.sonnet.cases_optimizers import OPTIMIZATIONS
from tests.sonnet.store import FOLDER, recording

WITHOUT_A_CASE = {
    # 25 million parameters. Its parts have cases, and `ResNet` has.
    "nets.ResNet50",
    # Several devices. On one, `CrossReplicaBatchNorm` has a case.
    "distribute.Replicator",
    "distribute.TpuReplicator",
    "distribute.create_variables_eagerly",
    # Functions of JAX under another name, or for variables of TensorFlow. `sgd`, `adam`, `momentum`
    # and `rmsprop` are called by the names of their classes.
    *(
        f"functional.{name}"
        for name in (
            "adam",
            "device_get",
            "device_put",
            "grad",
            "jit",
            "momentum",
            "optimizer",
            "rmsprop",
            "sgd",
            "transform",
            "transform_with_state",
            "value_and_grad",
            "variables",
            "without_state",
        )
    ),
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_is_recorded(group):
    names = [case.name for case in GROUPS[group]]
    assert list(recording(group).records) == names
    assert len(set(names)) == len(names)


def test_every_row_is_recorded():
    assert list(recording("errors").records) == [case.name for case in ERRORS]
    assert list(recording("optimizers").records) == [case.name for case in OPTIMIZATIONS]
    records = recording("distributions").records
    assert (list(records["layers"]), list(records["initializers"])) == (
        list(LAYERS),
        list(INITIALIZERS),
    )


def test_every_name_has_a_case():
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("cases_*.py"))
    names = {n for n, r in recording("api").records.items() if r["kind"] != "module"}
    missing = {n for n in names if not re.search(rf"\b{n.rpartition('.')[2]}\b", text)}
    assert missing <= WITHOUT_A_CASE <= names


def test_recordings_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1.6e6
