"""What a user agent decides: redirects, cookies, proxies. Pure: no I/O, no clock."""
