"""Events, where they are, the weather there, and tickets for them."""
