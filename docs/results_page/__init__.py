"""The parts of RESULTS.md and of the tables in other documents, which docs/results.py puts together."""
