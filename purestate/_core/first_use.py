"""Imports what few programs use on first use, so that `import purestate` stays quick."""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def on_first_use(package: str, names: dict[str, str], modules: str = "") -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package that imports `names` at their first use.

    Args:
      package: its name.
      names: the module that each name comes from. A module that ends in the name is meant itself.
      modules: modules of the package, with spaces between.
    """
    for module in modules.split():
        names[module] = f"{package}.{module}"
    namespace = vars(sys.modules[package])

    def __dir__() -> list[str]:  # noqa: N807
        # For completion: public names, and those that Python has in every module.
        public = namespace.get("__all__", {*namespace, *names})
        return sorted({name for name in namespace if name.startswith("__")} | {*public})

    namespace["__dir__"] = __dir__

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in names:
            # Python's own words, to which it adds a similar name if the error ends the program.
            module = sys.modules[package]
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=module
            )
        module = importlib.import_module(names[name])
        value = module if names[name] == f"{package}.{name}" else getattr(module, name)
        namespace[name] = value
        return value

    return __getattr__
