"""What of a connection only its socket knows: hang-ups, queues, pausing."""
