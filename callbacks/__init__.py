"""Callbacks for `LeOCLR.fit`. Each is imported when it is first used; only `TensorBoard` needs TensorFlow."""

from keras_leoclr import lazy

_PLACES = {
    "CallbackError": "guarded",
    "Checkpoint": "checkpoint",
    "Feed": "feed",
    "Health": "health",
    "HealthWarning": "health",
    "HistoryFile": "history_file",
    "Interrupted": "checkpoint",
    "KNNMonitor": "knn_monitor",
    "NonFiniteLossError": "health",
    "OnlineLinearProbe": "online_linear_probe",
    "Position": "checkpoint",
    "Progress": "progress",
    "TensorBoard": "tensorboard",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
