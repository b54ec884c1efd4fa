"""Names of the strategies of each backend, for those who only list or check them: no Keras is needed."""

STRATEGIES = {
    "tensorflow": ("auto", "none", "mirrored", "multi_worker"),
    "jax": ("auto", "none", "data_parallel"),
    "torch": ("auto", "none"),
}
