"""The master's side of its children: the forkservers and the workers."""
