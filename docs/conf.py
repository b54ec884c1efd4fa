"""Settings of Sphinx, which makes the documents a site: `make docs`, by docs/build.py."""

import re

from keras_leoclr import __version__

project = "keras_leoclr"
author = "the keras_leoclr authors"
copyright = "the keras_leoclr authors, Apache-2.0"
version = release = __version__
root_doc = "docs/index"
include_patterns = ["docs/**", "RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/NOTES.md"]
exclude_patterns = ["docs/results/**"]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "myst_nb"]
default_role = "code"
nitpicky = False

# === Pages and notebooks ===
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
nb_execution_mode = "force"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_excludepatterns = []
nb_output_stderr = "remove"  # messages of TensorFlow about the machine
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "

# === Reference ===
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    ("Input of `fit` and `evaluate`", "notes"),
    ("Input", "notes"),
]

# === Looks ===
html_theme = "furo"
html_title = "keras_leoclr"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def _as_restructured_text(app, what, name, obj, options, lines):
    """Code between three backticks becomes a directive, and lists get the empty line that they need."""
    text = "\n".join(lines)

    def directive(found):
        indent, language, code = found.groups()
        inner = "\n".join(f"   {line}" if line.strip() else "" for line in code.splitlines())
        return f"\n{indent}.. code-block:: {language or 'text'}\n\n{inner}\n"

    text = re.sub(r"^([ ]*)```(\w*)\n(.*?)\n[ ]*```$", directive, text, flags=re.S | re.M)
    lines[:] = re.sub(r"^([ ]*- )", r"\n\1", text, flags=re.M).splitlines()


def setup(app):
    """Registers what changes docstrings before napoleon reads them."""
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=400)
