"""Makes the library usable from the folder of the repository: without an installation and TensorFlow.

Import this module before any other module of the library.
"""

import pathlib
import sys

import keras_leoclr

for name in ("tensorflow", "keras_cv", "tensorflow_datasets"):
    sys.modules[name] = None  # Installed packages must behave as if they were missing.

# Where the package is not installed, callbacks lie beside it in the repository.
keras_leoclr.__path__.append(str(pathlib.Path(__file__).parents[2]))
