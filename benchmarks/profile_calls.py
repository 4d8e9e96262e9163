"""Where the calls of a trace are made: in purestate, in JAX, and in the model itself.

python benchmarks/profile_calls.py
python benchmarks/profile_calls.py --models gpt --top 20      the functions with most calls
"""

import argparse
import collections
import os
import sys
from trace import contenders
from typing import Any

import jax
from models import MODELS

import purestate

FOLDERS = {
    "purestate": os.path.dirname(purestate.__file__),
    "JAX": os.path.dirname(jax.__file__),
    "model": os.path.dirname(os.path.abspath(__file__)),
}


def calls(form: Any, args: Any) -> collections.Counter[tuple[str, str]]:
    """Returns how often each function is called, by where its caller, or itself, is."""

    def trace() -> None:
        jax.jit(lambda *a: form(*a)).trace(*args)

    found: collections.Counter[tuple[str, str]] = collections.Counter()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            code = frame.f_code
            name = code.co_qualname if event == "call" else f"{argument.__qualname__}"
            for place, folder in FOLDERS.items():
                if code.co_filename.startswith(folder + os.sep):
                    found[place, name] += 1
                    return
            found["Python", name] += 1

    trace()
    trace()
    sys.setprofile(note)
    try:
        trace()
    finally:
        sys.setprofile(None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="many,mlp,lstm,batch_norm,gpt,resnet18")
    parser.add_argument("--top", type=int, default=0, help="how many functions of purestate")
    options = parser.parse_args()
    places = (*FOLDERS, "Python")
    print(f"{'model':12}{'form':12}" + "".join(f"{place:>12}" for place in places))
    for model in options.models.split(","):
        forms, args = contenders(MODELS[model])
        for form in ("by hand", "purestate"):
            found = calls(forms[form], args)
            sums = [sum(n for (at, _), n in found.items() if at == place) for place in places]
            print(f"{model:12}{form:12}" + "".join(f"{number:12}" for number in sums), flush=True)
        own = [(n, name) for (at, name), n in found.items() if at == "purestate"]
        for number, name in sorted(own, reverse=True)[: options.top]:
            print(f"{number:30} {name}")


if __name__ == "__main__":
    main()
