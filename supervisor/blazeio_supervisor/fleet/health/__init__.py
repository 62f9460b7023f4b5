"""Who is blocked, who covers for it, and where new connections go."""
