"""What the service says of itself: events and lines."""
