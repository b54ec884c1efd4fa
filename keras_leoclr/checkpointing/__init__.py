"""Resuming an interrupted training: saving and restoring the whole state, and the handling of signals."""
