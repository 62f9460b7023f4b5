"""``unit APP``: the systemd units of this very command."""
