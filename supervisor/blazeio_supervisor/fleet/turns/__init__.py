"""What one turn of the planner is made of."""
