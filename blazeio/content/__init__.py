"""RFC 9110 content: codings, cookies, forms. Pure: no I/O, no clock."""
