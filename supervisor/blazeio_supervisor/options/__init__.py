"""The command line: every option, by section, and what it means in ``Settings``."""
