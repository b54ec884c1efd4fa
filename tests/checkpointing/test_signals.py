"""Signals that end a training after its step, sent to a real process."""

import signal
import subprocess
import sys
import time

import pytest

from keras_leoclr.checkpointing import signals

pytestmark = pytest.mark.backend_free

WAITS = """
import time
from keras_leoclr.checkpointing.signals import Signals
with Signals() as seen:
    print("ready", flush=True)
    while True:
        time.sleep(0.02)
"""


def test_a_signal_of_two_senders_is_one_and_a_later_one_ends_the_process():
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(signals.TOGETHER + 0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 128 + signal.SIGINT
    assert process.stderr.read().count("stopping after this step") == 1
