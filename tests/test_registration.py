"""Files with objects of this package load after a bare import, which loads neither Keras nor TensorFlow."""

import ast
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.registration import REGISTERED

BACKEND = keras.backend.backend()
ROOT = pathlib.Path(__file__).parent.parent


def run(code, *arguments):
    """What a program prints in a process of its own, as JSON."""
    made = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout.splitlines()[-1])


def registered_in_the_source():
    """Names of all classes that are decorated with `register_keras_serializable("keras_leoclr")`."""
    found = []
    for folder in ("keras_leoclr", "callbacks", "recipes"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                decorators = getattr(node, "decorator_list", [])
                if any("register_keras_serializable" in ast.unparse(d) for d in decorators):
                    found.append(node.name)
    return found


def test_the_list_of_registered_classes_is_complete():
    assert sorted(set(registered_in_the_source())) == sorted(REGISTERED)


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_a_registered_name_leads_to_its_class(name):
    module = __import__(f"keras_leoclr.{REGISTERED[name]}", fromlist=[name])
    cls = getattr(module, name)
    assert keras.saving.get_registered_name(cls) == f"keras_leoclr>{name}"
    assert keras.saving.get_registered_object(f"keras_leoclr>{name}") is cls


IMPORTS = ("import keras_leoclr, keras", "import keras, keras_leoclr")
AFTER_A_QUESTION = "import keras_leoclr, importlib.util; importlib.util.find_spec('keras'); import keras"
LOADS = """
import json, sys
{imports}
loaded = keras.saving.load_model(sys.argv[1])
print(json.dumps([type(loaded).__module__, type(loaded).__name__, type(loaded.optimizer).__module__,
    [float(abs(w).sum()) for w in loaded.get_weights()], "tensorflow_datasets" in sys.modules]))
"""


@pytest.mark.parametrize("imports", IMPORTS)
def test_a_model_loads_after_a_bare_import_in_either_order(tmp_path, imports):
    model = kl.LeOCLR(
        kl.backbones.resnet_small((8, 8, 3)),
        projection_dim=4,
        queue_size=8,
        momentum=kl.schedules.CosineMomentum(0.9, steps=5),
    )
    model.compile(kl.optimizers.LARS(0.1, momentum=0.9))
    model.save(tmp_path / "model.keras")
    module, name, optimizer, sums, _ = run(LOADS.format(imports=imports), tmp_path / "model.keras")
    assert (module, name, optimizer) == ("keras_leoclr.model", "LeOCLR", "keras_leoclr.optimizers")
    np.testing.assert_allclose(sums, [np.abs(w).sum() for w in model.get_weights()], rtol=1e-5)


FROM_CONFIG = """
import json, sys
{imports}
names = json.loads(sys.argv[1])
before = "keras_leoclr.schedules" in sys.modules
made = [keras.saving.deserialize_keras_object(config) for config in names]
made.append(keras.saving.get_registered_object("keras_leoclr>SGD")(0.5))
print(json.dumps([before, *[type(m).__module__ + "." + type(m).__name__ for m in made]]))
"""


@pytest.mark.parametrize("imports", [*IMPORTS, AFTER_A_QUESTION])
def test_objects_are_made_of_their_configuration_by_classes_that_are_imported_then(imports):
    objects = [
        kl.schedules.CosineMomentum(0.5, steps=3),
        kl.optimizers.SGD(kl.schedules.CosineMomentum(0.1, steps=3)),
        kl.KeyQueue(4, 3),
    ]
    configs = json.dumps([keras.saving.serialize_keras_object(o) for o in objects])
    before, *made = run(FROM_CONFIG.format(imports=imports), configs)
    assert not before
    expected = [f"{type(o).__module__}.{type(o).__name__}" for o in objects]
    assert made == [*expected, "keras_leoclr.optimizers.SGD"]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="views on the host are TensorFlow's")
def test_views_load_after_a_bare_import():
    config = json.dumps([keras.saving.serialize_keras_object(kl.LeOCLRViews(16))])
    _, made, _ = run(FROM_CONFIG.format(imports=IMPORTS[0]), config)
    assert made.endswith(".LeOCLRViews")


AFTER_A_FAILURE = """
import builtins, json, os, sys
import keras_leoclr
os.environ["KERAS_BACKEND"] = "none of them"
try:
    import keras
except Exception as error:
    failed = type(error).__name__
for name in [n for n in sys.modules if n.split(".")[0] == "keras"]:
    del sys.modules[name]
os.environ["KERAS_BACKEND"] = sys.argv[1]
import keras
hooks = [finder for finder in sys.meta_path if type(finder).__name__ == "_AfterKeras"]
print(json.dumps([failed, "keras_leoclr>SGD" in keras.saving.get_custom_objects(), len(hooks)]))
"""


def test_an_import_of_keras_that_fails_may_be_tried_again():
    failed, registered, hooks = run(AFTER_A_FAILURE, BACKEND)
    assert failed
    assert registered
    assert not hooks


BARE = """
import json, sys
import keras_leoclr
for package in ("backbones", "distribution"):
    getattr(keras_leoclr, package)
    dir(getattr(keras_leoclr, package))
heavy = [n for n in ("keras", "tensorflow", "jax", "torch", "numpy", "keras_cv") if n in sys.modules]
print(json.dumps([heavy, sorted(set(keras_leoclr.__all__) - set(dir(keras_leoclr)))]))
"""


def test_a_bare_import_loads_no_framework():
    heavy, missing = run(BARE)
    assert heavy == []
    assert missing == []


def test_tensorflow_is_told_to_be_quiet_before_keras_imports_it(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    code = "import json, os, keras_leoclr; print(json.dumps(os.environ['TF_CPP_MIN_LOG_LEVEL']))"
    assert run(code) == "2"


def test_help_of_the_command_loads_no_framework():
    code = """
import json, sys
sys.argv = ["leoclr", "--help"]
import contextlib, io
from keras_leoclr import cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main()
print(json.dumps([n for n in ("keras", "tensorflow", "jax", "torch", "keras_cv") if n in sys.modules]))
"""
    assert run(code) == []


@pytest.mark.parametrize("package", ["", ".backbones", ".distribution"])
def test_every_public_name_can_be_used(package):
    module = __import__(f"keras_leoclr{package}", fromlist=["x"])
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        module.no_such_name  # noqa: B018
