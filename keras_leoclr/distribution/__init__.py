"""Devices and machines that a training is distributed over."""

from keras_leoclr.distribution.devices import *  # noqa: F403
