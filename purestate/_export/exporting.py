"""`export`."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.abstract import uncompiled
from purestate._core.errors import MissingRNGError, kind_of
from purestate._core.keys import check_key
from purestate._core.pairs import model_name, original_function
from purestate._export.errors import ExportError
from purestate._export.exported_model import ExportedModel
from purestate._export.file import write_exported
from purestate._export.input_specs import read_specs


def export(
    f: Any,
    params: Any,
    state: Any,
    specs: Any,
    *,
    path: str | os.PathLike[str] | None = None,
    platforms: Sequence[str] | None = None,
    rng: Any = None,
    constraints: Sequence[str] = (),
    vjp_order: int = 0,
    **options: Any,
) -> ExportedModel:
    """Turns a function and its weights into a program that needs only JAX.

    >>> import os, tempfile, jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x, is_training):
    ...     return ps.BatchNorm(True, True, decay_rate=0.9)(x, is_training)
    >>> f = ps.transform_with_state(forward)
    >>> params, state = f.init(None, jnp.ones([4, 3]), is_training=True)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.zip")
    >>> model = ps.export(f, params, state, "float32[b, 3]", path=path, is_training=False)
    >>> out, _ = ps.load_exported(path)(jnp.ones([7, 3]))
    >>> out.shape
    (7, 3)

    Args:
      f: what a transform returned; or an `apply`, for instance one of `multi_transform`; or any
        other function of `(params, state, *inputs)`, such as a step of training.
      params: the parameters; the variables of `transform_with_collections`.
      state: the state, or None if `f` has none.
      specs: shape and dtype of the input; a tuple of them for several inputs. Each one is a tree
        whose leaves are arrays, `jax.ShapeDtypeStruct`s or texts such as `"float32[b, 28, 28, 1]"`.
        A dimension with a name may have any size but zero.
      path: a file to write program and weights to; see `load_exported`.
      platforms: those to run on: "cpu", "cuda", "rocm", "tpu". None is this platform.
      rng: a random key if the program shall take one, since it needs one; or a dict of keys by
        stream. Only their dtypes count.
      constraints: what the sizes of named dimensions fulfil, such as `["t <= 512"]`.
      vjp_order: how many times the program in the file can be differentiated.
      **options: further arguments of `f` that are fixed in the program, such as `is_training`.

    Returns:
      The program with its weights.

    Raises:
      ExportError: a spec is not one, or the program cannot be the same for each size of a dimension
        with a name.
      InvalidRNGError: `rng` is something else than keys, such as a seed.
      MissingRNGError: the function draws random keys, and `rng` is None.
      CheckpointFileError: the file cannot be written.
      MissingPackageError: there is a path, and the package flatbuffers is not installed.
    """
    program = _program(f, state, rng, options)
    params, state = jax.tree.map(jnp.asarray, (params, state))
    key = jax.tree.map(_key_spec, rng)
    weights = jax.eval_shape(lambda: (params, state))
    inputs = read_specs(specs, constraints)
    try:
        lowered = jax.export.export(jax.jit(program), platforms=platforms)
        exported = lowered(*weights, key, *inputs)
    except MissingRNGError as error:
        error.add_note(
            "The program takes a key if you pass one to `ps.export`, such as"
            " rng=jax.random.key(0). If nothing is to be random, pass the option of the model that"
            " says so, such as is_training=False."
        )
        raise
    except (jax.errors.InconclusiveDimensionOperation, TypeError) as error:
        # `range` and NumPy name JAX's class of a dimension in a TypeError.
        if isinstance(error, TypeError) and "_DimExpr" not in str(error):
            raise
        raise ExportError(_inconclusive(error)) from error
    model = ExportedModel(exported, params, state)
    if path is not None:
        write_exported(path, model, vjp_order)
    return model


def _key_spec(key: Any) -> jax.ShapeDtypeStruct:
    check_key(key)
    return jax.ShapeDtypeStruct(key.shape, key.dtype)


def _program(f: Any, state: Any, rng: Any, options: dict[str, Any]) -> Callable[..., Any]:
    """Returns the function to export, which takes the same leading arguments for any `f`."""
    apply = uncompiled(getattr(f, "apply", f))
    if not callable(apply):
        raise ExportError(
            f"`ps.export` takes what a transform returned, or a function, but got {kind_of(apply)}."
            " Of several functions, export each one: ps.export(f.apply['encode'], ...)."
        )
    leading: tuple[str, ...] = getattr(apply, "leading", ("params", "state"))
    for name, value in (("state", state), ("rng", rng)):
        if name not in leading and jax.tree.leaves(value):
            raise ExportError(
                f"`{name}` must be None, since {model_name(original_function(apply))!r} takes"
                f" ({', '.join(leading)}, *inputs)."
            )

    def program(params: Any, state: Any, rng: Any, *inputs: Any) -> Any:
        given = {"params": params, "variables": params, "state": state, "rng": rng}
        return apply(*(given[name] for name in leading), *inputs, **options)

    program.__name__ = model_name(original_function(apply))
    return program


def _inconclusive(error: Exception) -> str:
    what = str(error).partition("\nThis error arises")[0].strip().rstrip(".")
    notes = [
        note for note in getattr(error, "__notes__", ()) if note.startswith("This came up in ")
    ]
    return "\n".join(
        [
            f"The program would depend on the size of a named dimension: {what}.",
            *notes,
            "Python cannot branch on such a size, loop over it, or use it as a number. Give the"
            " dimension a number in the specs, let jax.numpy do it, or promise something of all"
            " sizes, such as constraints=['b >= 2'].",
        ]
    )
