"""How sure a classifier may be of its answers, and which it should rather not give."""
