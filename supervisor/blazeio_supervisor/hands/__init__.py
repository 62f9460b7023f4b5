"""The hands of the master: what the planner wants is done here."""
