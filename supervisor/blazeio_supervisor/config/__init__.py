"""Every setting: declared once, and read from three places."""
