"""The names of `snt.distribute` that have no counterpart: JAX runs one function on all devices."""

from typing import Any, NoReturn

from purestate._sonnet.errors import SonnetValueError


def _no_counterpart(name: str) -> SonnetValueError:
    return SonnetValueError(
        f"`snt.distribute.{name}` has no counterpart, since a function of JAX runs on several"
        " devices by itself. Shard the batch over a mesh and compile the step with jax.jit, or"
        ' write the step of one device with jax.shard_map. See "Several devices" on the page'
        ' "Coming from Sonnet".'
    )


def Replicator(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: N802 (Sonnet's name)
    """Raises an error that says how to use several devices.

    >>> import purestate.sonnet as snt
    >>> try:
    ...     snt.distribute.Replicator()
    ... except ValueError as error:
    ...     print(str(error)[:47])
    `snt.distribute.Replicator` has no counterpart,

    Args:
      *args: ignored.
      **kwargs: ignored.

    Raises:
      SonnetValueError: always.
    """
    raise _no_counterpart("Replicator")


def TpuReplicator(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: N802 (Sonnet's name)
    """Raises an error that says how to use several devices; see `Replicator`."""
    raise _no_counterpart("TpuReplicator")


def create_variables_eagerly(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises an error that says how to use several devices; see `Replicator`."""
    raise _no_counterpart("create_variables_eagerly")
