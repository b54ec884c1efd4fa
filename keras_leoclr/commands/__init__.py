"""Commands of `leoclr`, one module each; every one has `run(arguments) -> exit status`."""
