"""Imports what few programs use on first use, so that `import purestate` stays quick."""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def on_first_use(package: str, names: dict[str, str], modules: str = "") -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package that imports names at their first use.

    Args:
      package: its name.
      names: {module: the names in it, with spaces between}. A module `".layers"` is relative to the
        package.
      modules: modules of the package that are names themselves, with spaces between.
    """
    namespace = vars(sys.modules[package])
    module_of: dict[str, str] | None = None

    def find() -> dict[str, str]:
        nonlocal module_of
        found = module_of
        if found is None:  # not at the import, which takes no longer for a long table
            # Set once it is whole, as another thread may look at it meanwhile.
            found = module_of = {
                name: module for module, there in names.items() for name in there.split()
            }
        return found

    def __dir__() -> list[str]:  # noqa: N807
        # For completion: public names, and those that Python has in every module.
        public = namespace.get("__all__", {*namespace, *find(), *modules.split()})
        return sorted({name for name in namespace if name.startswith("__")} | {*public})

    namespace["__dir__"] = __dir__

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in modules.split():
            value = importlib.import_module(f"{package}.{name}")
        elif name in find():
            value = getattr(importlib.import_module(find()[name], package), name)
        else:
            # Python's own words, to which it adds a similar name if the error ends the program.
            module = sys.modules[package]
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=module
            )
        namespace[name] = value
        return value

    return __getattr__
