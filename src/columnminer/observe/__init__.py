"""Events become columns."""
