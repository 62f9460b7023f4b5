"""Field lines, the header section they make, and what is kept of both."""
