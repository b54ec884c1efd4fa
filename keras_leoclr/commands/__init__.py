"""The commands of `leoclr`: each is a module of its name, which holds it as `COMMAND`.

The modules import what is slow to import when the command runs, so that help and mistakes answer at once.
"""

# in the order of `leoclr --help`
NAMES = (
    *("pretrain", "recipes", "watch", "runs", "evaluate", "compare", "ablate", "report", "views", "export"),
    *("embed", "detect", "segment", "index", "search", "data", "doctor"),
)
