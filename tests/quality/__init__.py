"""How good the search is: known bugs it must find, and correct programs it must leave alone."""
