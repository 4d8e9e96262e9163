"""Rules from outside: what happens to the modules of a function, by path."""
