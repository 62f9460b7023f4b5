"""The declaration of every option: a class for each section of ``--help``."""
