"""The parts of `orders`: units, messages, costs, accounts."""
