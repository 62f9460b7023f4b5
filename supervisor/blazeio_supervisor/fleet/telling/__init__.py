"""What whoever started the service is told of it, and when."""
