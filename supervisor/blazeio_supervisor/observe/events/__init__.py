"""What happens to the service: each fact is noted once, kept, and logged."""
