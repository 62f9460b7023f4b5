"""The decisions: facts in, actions out. Pure: no I/O, no clock, no signals."""
