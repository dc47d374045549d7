"""The parts of `clock`: instants, calendars, lengths."""
