"""Options that win over what the App says: each module reads those of a section."""
