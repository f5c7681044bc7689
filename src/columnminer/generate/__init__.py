"""Events are made."""
