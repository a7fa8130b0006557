"""What a failure looks like to the person who has to mend it."""
