"""``doctor``: what could be better on this machine, and how to mend it."""
