"""The verbs: one command each, one clear line of outcome."""
