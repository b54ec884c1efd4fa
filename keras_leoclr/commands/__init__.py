"""The commands of `leoclr`: each is a module with the name of the command, which defines it as `COMMAND`.

The modules import slow packages only when the command runs, so that help and usage errors appear at once.
"""

# The names are in the order of `leoclr --help`.
NAMES = (
    *("pretrain", "recipes", "watch", "runs", "evaluate", "compare", "ablate", "tune", "report", "views"),
    *("export", "embed", "detect", "segment", "index", "search", "data", "doctor"),
)
