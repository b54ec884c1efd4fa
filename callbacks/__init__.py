"""Callbacks for `LeOCLR.fit`."""

from keras_leoclr.callbacks.knn_monitor import KNNMonitor
from keras_leoclr.callbacks.online_linear_probe import OnlineLinearProbe
from keras_leoclr.callbacks.stop_on_non_finite import NonFiniteLossError, StopOnNonFinite

__all__ = ["KNNMonitor", "NonFiniteLossError", "OnlineLinearProbe", "StopOnNonFinite"]
