"""The service manager that has started us (systemd): what it says, what it is told."""
