"""Training on several workers: their addresses, waiting for them, and noticing that one has stopped."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time


class WorkerLostError(RuntimeError):
    """Another worker has stopped, so this one cannot continue the training."""


def tensorflow_workers() -> tuple[list[str], int] | None:
    """Reads the addresses of all workers and the number of this one from TF_CONFIG; None if it is not set."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    rule = (
        'TF_CONFIG must be JSON such as {"cluster": {"worker": ["a:1", "b:1"]}, '
        '"task": {"type": "worker", "index": 0}}. '
    )
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{rule}Received: {text!r}, {error}") from error
    try:
        addresses = config["cluster"]["worker"]
        kind, index = config["task"]["type"], config["task"]["index"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{rule}Received: {text!r}") from error
    if not isinstance(addresses, list) or not addresses or set(config["cluster"]) != {"worker"}:
        raise ValueError(f"{rule}Every task must be a worker. Received: {text!r}")
    if kind != "worker" or not isinstance(index, int) or not 0 <= index < len(addresses):
        raise ValueError(
            f"The task of TF_CONFIG must be a worker from 0 to {len(addresses) - 1}. "
            f"Received: type {kind!r}, index {index!r}"
        )
    return [checked_address(address, "TF_CONFIG") for address in addresses], index


def checked_address(address: str, source: str) -> str:
    """Checks an address and returns it without spaces around it.

    Args:
        address: address of a worker, "host:port".
        source: name of the environment variable that the address comes from, for the message.

    Raises:
        ValueError: if the address is not "host:port".
    """
    host, _, port = str(address).strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"Workers in {source} must be host:port. Received: {address!r}")
    return f"{host}:{port}"


def wait_for_workers(addresses: list[str], worker: int | None, timeout: float) -> None:
    """Waits until every other worker has answered.

    TensorFlow and JAX wait for a missing worker too, but do not say which one is missing.

    Args:
        addresses: "host:port" of every worker that can be reached, in the order of their numbers.
        worker: number of this worker, whose port is opened in the meantime; None if its address is not in
            the list.
        timeout: how many seconds to wait.

    Raises:
        TimeoutError: if workers do not answer in time; the message names their addresses.
        OSError: if the port of this worker is already in use.
    """
    others = [number for number in range(len(addresses)) if number != worker]
    # This worker may return when it has reached all others and all others have reached it. If it closed its
    # port earlier, a worker that starts later would wait for it in vain.
    to_reach, to_hear = set(others), set(others if worker is not None else ())
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        if worker is not None:
            server = stack.enter_context(_listen(addresses[worker]))
            listening = threading.Thread(target=_listen_to, args=(server, to_hear, done), daemon=True)
            listening.start()
            stack.callback(listening.join)
            stack.callback(done.set)
        ends = time.monotonic() + timeout
        while to_reach or to_hear:
            to_reach = {number for number in to_reach if not _reach(addresses[number], worker)}
            missing = sorted(to_reach | to_hear)
            if missing and time.monotonic() > ends:
                raise TimeoutError(
                    f"Waited {timeout:.0f} s for {len(missing)} of {len(addresses)} workers that did not "
                    f"answer: {', '.join(addresses[number] for number in missing)}"
                )
            time.sleep(0.1 if missing else 0)


def _listen(address):
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server(("", int(port)))
    except OSError as error:
        raise OSError(f"The port of this worker, {host}:{port}, cannot be opened: {error}") from error


def _listen_to(server, to_hear, done):
    server.settimeout(0.1)
    while not done.is_set():
        with contextlib.suppress(OSError, ValueError):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(2)
                to_hear.discard(int(connection.recv(16)))


def _reach(address, worker):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2) as connection:
            connection.sendall(f"{-1 if worker is None else worker}\n".encode())
    except OSError:
        return False
    return True


def says_that_a_worker_is_gone(error: Exception) -> bool:
    """Whether an error of TensorFlow or JAX means that another worker can no longer be reached."""
    name, text = type(error).__name__, str(error)
    if name in ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError"):
        return True
    signs = ("Connection closed by peer", "Connection reset by peer", "Gloo", "heartbeat", "NCCL")
    return name in ("InternalError", "JaxRuntimeError", "XlaRuntimeError") and any(s in text for s in signs)
