"""Callbacks for `LeOCLR.fit`."""

from keras_leoclr.callbacks.checkpoint import Checkpoint, Interrupted, Position
from keras_leoclr.callbacks.health import Feed, Health, HealthWarning, NonFiniteLossError
from keras_leoclr.callbacks.history_file import HistoryFile
from keras_leoclr.callbacks.knn_monitor import KNNMonitor
from keras_leoclr.callbacks.online_linear_probe import OnlineLinearProbe
from keras_leoclr.callbacks.progress import Progress
from keras_leoclr.callbacks.tensorboard import TensorBoard

__all__ = [
    "Checkpoint",
    "Feed",
    "Health",
    "HealthWarning",
    "HistoryFile",
    "Interrupted",
    "KNNMonitor",
    "NonFiniteLossError",
    "OnlineLinearProbe",
    "Position",
    "Progress",
    "TensorBoard",
]
