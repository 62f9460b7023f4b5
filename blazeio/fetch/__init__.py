"""``python -m blazeio URL``: one request from the command line."""
