"""Records the parameters after each step of Sonnet's optimizers."""

from typing import Any

import sonnet as snt
import tensorflow as tf

from tests.sonnet.cases_optimizers import GRADS, OPTIMIZATIONS, PARAMS
from tests.sonnet.store import Writer


def steps(optimizer: Any, writer: Writer) -> dict[str, Any]:
    variables = [tf.Variable(v, name=k) for k, v in PARAMS.items()]
    params = []
    for grads in GRADS:
        optimizer.apply([tf.constant(grads[k]) for k in PARAMS], variables)
        params.append({k: writer.put(v.numpy()) for k, v in zip(PARAMS, variables, strict=True)})
    slots = [[v.name, v.shape.as_list(), writer.put(v.numpy())] for v in slots_of(optimizer)]
    return {"params": params, "slots": slots}


def slots_of(optimizer: Any) -> Any:
    snt.allow_empty_variables(optimizer)
    return [v for v in optimizer.variables if v.dtype.is_floating]


def functional(name: str, args: Any, kwargs: Any, writer: Writer) -> list[Any]:
    with snt.functional.variables():
        variables = [tf.Variable(v, name=k) for k, v in PARAMS.items()]
    params = {v.ref(): v.tensor_value for v in variables}
    optimizer = getattr(snt.functional, name.lower())(*args, **kwargs)
    state, taken = optimizer.init(params), []
    for grads in GRADS:
        ordered = [tf.constant(grads[v.ref().deref().name.partition(":")[0]]) for v in variables]
        updates = {v.ref(): g for v, g in zip(variables, ordered, strict=True)}
        params, state = optimizer.apply(state, updates, params)
        taken.append(
            {k: writer.put(params[v.ref()]) for k, v in zip(PARAMS, variables, strict=True)}
        )
    return taken


def record_optimizers() -> None:
    writer, records = Writer(), {}
    for case in OPTIMIZATIONS:
        optimizer = getattr(snt.optimizers, case.optimizer)(*case.args, **case.kwargs)
        records[case.name] = steps(optimizer, writer)
        records[case.name]["functional"] = functional(
            case.optimizer, case.args, case.kwargs, writer
        )
    writer.save("optimizers", records)
    print(f"optimizers: {len(records)} cases")
