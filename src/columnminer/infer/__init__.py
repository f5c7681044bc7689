"""What the data say."""
