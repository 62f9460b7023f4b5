"""What runs in the processes of one generation: its forkserver and its workers."""
