"""Training that goes on where it was interrupted: every number of a model, the way back, and signals."""
