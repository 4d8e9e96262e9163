"""Tools on plain dicts of variables; they need no frame and no modules."""
