"""Pictures and reports of results that were computed elsewhere."""
