"""Tools for plain dicts of variables. They need neither a frame nor modules."""
