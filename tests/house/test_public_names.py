"""The modules without an underscore: what they list is what is public, and the names of their errors."""

import copy
import importlib
import pickle
import pkgutil
import subprocess
import sys
import traceback
from pathlib import Path

import cloudpickle
import pytest

import purestate as ps

ROOT = Path(ps.__file__).parent
FACADES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if not any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(ROOT).parts)
)  # fmt: skip


def test_all_are_found():
    assert {"purestate", "purestate.surgery", "purestate.experimental.flax"} < set(FACADES)
    assert len(FACADES) >= 15


@pytest.mark.parametrize("name", FACADES)
def test_dir_lists_public_names_only(name):
    module = importlib.import_module(name)
    listed = [n for n in dir(module) if not n.startswith("__")]
    assert sorted(listed) == sorted(n for n in module.__all__ if not n.startswith("__"))
    assert all(hasattr(module, n) for n in dir(module))


@pytest.mark.parametrize("name", ["purestate", "purestate.errors", "purestate.experimental.flax"])
def test_dir_does_not_import_what_comes_on_first_use(name):
    code = (
        f"import sys, {name}; names = dir({name})\n"
        "assert '__all__' in names and not any(n.startswith('_') and n[1] != '_' for n in names)\n"
        "assert 'flax' not in sys.modules and 'purestate._views.model' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Errors


def classes_of(root):
    """All classes of purestate's own below a root."""
    for module in pkgutil.walk_packages([str(ROOT)], "purestate."):
        importlib.import_module(module.name)
    found, left = set(), [root]
    while left:
        cls = left.pop()
        found.add(cls)
        left += cls.__subclasses__()
    return sorted(
        (cls for cls in found if cls.__module__.startswith("purestate")),
        key=lambda cls: (cls.__name__, str(cls.__mro__)),
    )


ERRORS = [*classes_of(ps.errors.PurestateError), *classes_of(ps.errors.PurestateWarning)]
CALL_ERRORS = [cls for cls in ERRORS if cls is not ps.errors.CallError and issubclass(cls, ps.errors.CallError)]  # fmt: skip
PUBLIC = [cls for cls in ERRORS if not cls.__name__.startswith("_") and cls not in CALL_ERRORS]


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_is_shown_where_users_find_it(cls):
    assert str(cls) == f"<class 'purestate.errors.{cls.__name__}'>"
    try:
        raise cls("told")
    except Exception as error:
        assert traceback.format_exception_only(error)[0].startswith(
            f"purestate.errors.{cls.__name__}: told"
        )


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_an_error_is_found_by_that_name(cls):
    assert getattr(ps.errors, cls.__name__) is cls


def test_all_errors_are_listed():
    assert {cls.__name__ for cls in PUBLIC} - set(ps.errors.__all__) == {
        "FlaxRngsError"
    }  # needs flax


@pytest.mark.parametrize("cls", [*PUBLIC, *CALL_ERRORS], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("library", [pickle, cloudpickle, copy], ids=lambda m: m.__name__)
def test_errors_are_pickled(cls, library):
    error = cls("told")
    again = copy.deepcopy(error) if library is copy else library.loads(library.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error)
    if cls in PUBLIC:
        assert pickle.loads(pickle.dumps(cls)) is cls


def test_an_error_of_a_user_keeps_its_module():
    class MyError(ps.errors.LayerError):
        pass

    assert MyError.__module__ == __name__
