"""Devices and machines that a training is distributed over."""

from keras_leoclr import lazy

_PLACES = {
    "Devices": "devices",
    "STRATEGIES": "strategies",
    "WorkerLostError": "workers",
    "after": "step",
    "assign_rows": "step",
    "connect": "devices",
    "data_axis": "groups",
    "first_row": "step",
    "gather": "step",
    "gpus": "devices",
    "in_scope": "step",
    "on_one_device": "devices",
    "on_tensorflow_cpu": "step",
    "own_rows": "step",
    "per_device": "groups",
    "scale_loss": "step",
    "spans_workers": "step",
    "strategy_of": "step",
    "wait_for_workers": "workers",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
