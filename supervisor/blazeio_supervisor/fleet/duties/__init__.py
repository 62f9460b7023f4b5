"""What the planner keeps doing: each file is one duty, run once a turn."""
