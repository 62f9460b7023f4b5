"""What the verbs show to a person, from answers to text."""
