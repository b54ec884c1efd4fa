"""Readers, one module for each kind of source of images."""
