"""What is asked: the URL, the head and the content of a request, as values."""
