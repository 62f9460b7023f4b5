"""What the kernel is told to do with new connections."""
