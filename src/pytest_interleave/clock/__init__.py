"""The door for clocks: what ``time`` and ``datetime`` say while a loop is in virtual time."""
