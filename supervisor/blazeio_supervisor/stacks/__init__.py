"""Where a worker is: the stacks of its threads and of its tasks."""
