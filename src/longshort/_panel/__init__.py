"""What Bars are made with and shown with; nothing here is public."""
