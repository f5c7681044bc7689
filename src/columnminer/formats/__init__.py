"""Files to batches of awkward events and back, all behind one Reader protocol."""
