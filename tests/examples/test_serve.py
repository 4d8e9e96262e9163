"""`examples/serve.py` under load on this machine. No check depends on how fast anything is."""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest

import purestate as ps

SCRIPT = Path(__file__).parents[2] / "examples" / "serve.py"
spec = importlib.util.spec_from_file_location("serve_example", SCRIPT)
serve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serve)

A_LONG_TIME = 1e6
F = ps.transform_with_state(
    lambda x: ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([16, 2])(x), is_training=False)
)
PARAMS, STATE = jax.eval_shape(
    ps.transform_with_state(
        lambda x: ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([16, 2])(x), is_training=True)
    ).init,
    jax.random.key(0),
    np.zeros([4, 3], np.float32),
)
PARAMS, STATE = jax.tree.map(
    lambda x: np.abs(np.random.RandomState(0).standard_normal(x.shape)).astype(x.dtype),
    (PARAMS, STATE),
)
EXAMPLES = np.random.RandomState(1).standard_normal([200, 3]).astype(np.float32)


@contextlib.contextmanager
def running(**options):
    model = ps.export(F, PARAMS, STATE, "float32[b, 3]")
    server = serve.Server(model, port=0, **options)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server, body, method="POST"):
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.server_port}", json.dumps(body).encode(), method=method
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def outputs_for(server, examples):
    with ThreadPoolExecutor(len(examples)) as pool:
        answers = list(pool.map(lambda x: ask(server, {"input": x.tolist()}), examples))
    return np.array([answer["output"] for answer in answers], np.float32)


def test_many_at_once():
    # The wait is so long that each batch is full, however slow this machine is.
    with running(max_batch=8, wait_ms=A_LONG_TIME) as server:
        outputs = outputs_for(server, EXAMPLES)
        assert server.batcher.sizes == [8] * 25
        assert ask(server, None, "GET")["batches"] == 25
    want, _ = jax.jit(F.apply)(PARAMS, STATE, None, EXAMPLES)
    np.testing.assert_allclose(outputs, want, rtol=1e-5, atol=1e-6)


def test_whatever_comes_in_a_short_time():
    with running(max_batch=8, wait_ms=1) as server:
        outputs = outputs_for(server, EXAMPLES[:30])
        assert sum(server.batcher.sizes) == 30
        assert set(server.batcher.sizes) <= set(range(1, 9))
    want, _ = jax.jit(F.apply)(PARAMS, STATE, None, EXAMPLES[:30])
    np.testing.assert_allclose(outputs, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "body, message",
    [
        ({"input": [1, 2]}, r"must have shape \(3,\), but has \(2,\)"),
        ({"input": ["a", "b", "c"]}, "with numbers in the list"),
        ({"x": 1}, "send "),
        ([1], "send "),
    ],
)
def test_wrong_requests(body, message):
    with running(max_batch=1, wait_ms=0) as server:
        with pytest.raises(urllib.error.HTTPError, match="400") as caught:
            ask(server, body)
        with caught.value:
            error = json.load(caught.value)["error"]
        assert ask(server, {"input": [1, 2, 3]}).keys() == {"output"}
    assert re.search(message, error)


def test_a_function_that_fails_answers_all_of_its_batch():
    def fail(batch):
        raise ArithmeticError("no")

    batcher = serve.Batcher(fail, max_batch=2, wait_ms=A_LONG_TIME)
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(batcher, np.zeros(3)) for _ in range(2)]:
            with pytest.raises(ArithmeticError, match="no"):
                future.result()
    batcher.close()


@pytest.mark.parametrize(
    "max_batch, sizes", [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (6, [1, 2, 4, 6])]
)
def test_batches_are_padded(max_batch, sizes):
    assert serve.batch_sizes(max_batch) == sizes
    for count in range(1, max_batch + 1):
        batch = serve.padded(list(EXAMPLES[:count]), max_batch)
        np.testing.assert_array_equal(batch[:count], EXAMPLES[:count])
        assert len(batch) == min(size for size in sizes if size >= count)


def test_main_serves_a_file(tmp_path):
    ps.export(F, PARAMS, STATE, "float32[b, 3]", path=tmp_path / "model.zip")
    run = [sys.executable, str(SCRIPT), str(tmp_path / "model.zip"), "--port=0", "--max_batch=2"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        address = line.split()[-1]
        body = json.dumps({"input": EXAMPLES[0].tolist()}).encode()
        with urllib.request.urlopen(address, body) as answer:
            got = json.load(answer)["output"]
    finally:
        process.terminate()
        process.communicate()
    want, _ = jax.jit(F.apply)(PARAMS, STATE, None, EXAMPLES[:1])
    np.testing.assert_allclose(got, want[0], rtol=1e-5, atol=1e-6)
