"""Names of the strategies of each backend; in a module of its own, so that listing them loads no Keras."""

STRATEGIES = {
    "tensorflow": ("auto", "none", "mirrored", "multi_worker"),
    "jax": ("auto", "none", "data_parallel"),
    "torch": ("auto", "none"),
}
