"""What theta means, before any event exists."""
