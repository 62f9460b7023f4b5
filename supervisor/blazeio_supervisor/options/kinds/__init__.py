"""How values are written and read: numbers, texts, switches, lists of them."""
