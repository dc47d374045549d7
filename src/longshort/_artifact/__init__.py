"""What an artifact is made of: its contents, and how they get to disk."""
