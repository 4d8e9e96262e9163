"""The recipes for several devices and processes, on eight devices and with two processes."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes_inside.md").read_text()


def start(program: str, *args: str, flags: str = "") -> subprocess.Popen[str]:
    """Starts a Python program in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
    }
    command = [sys.executable, "-W", "error", "-c", program, *args]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def output_of(process: subprocess.Popen[str]) -> str:
    """Waits for a program, and returns what it printed."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def test_params_spread_over_eight_devices():
    first, *_ = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    section = PAGE.partition("## Params spread over all devices")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    check = 'print(mesh.size, *(p.sharding.spec for p in jax.tree.leaves(new)), sep="; ")\n'
    check += 'print("all-gather" in step.lower(sharded, batch).compile().as_text())'
    flags = "--xla_force_host_platform_device_count=8"
    printed = output_of(start("\n".join([first, *blocks, check]), flags=flags)).splitlines()
    assert printed[-2].split("; ")[0] == "8"
    assert printed[-2].count("data") == 5  # all but the last bias, which has four numbers
    assert printed[-1] == "True"


def test_two_processes():
    (program,) = re.findall(
        r"^```\{code-block\} python\n:name: train.py\n\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    both = [start(program, port, str(process)) for process in range(2)]
    # Gloo prints lines of its own before.
    one, other = (output_of(process).splitlines()[-1].split() for process in both)
    assert one == other

    net = ps.transform(lambda x: ps.nets.MLP([8, 1])(x))
    x = jnp.repeat(jnp.array([[1.0], [2.0]]), 2, axis=0) * jnp.ones([1, 3])
    params = net.init(jax.random.key(0), x)
    loss, grads = jax.value_and_grad(lambda p: (net.apply(p, None, x) ** 2).mean())(params)
    w = params["mlp/~/linear_0"]["w"] - 0.1 * grads["mlp/~/linear_0"]["w"]
    assert one[0] == "2"
    np.testing.assert_allclose([float(n) for n in one[1:]], [loss, w.sum()], rtol=1e-5)
