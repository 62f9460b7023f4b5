"""Content of RFC 9110: codings, cookies, forms. Pure: no I/O, no clock."""
