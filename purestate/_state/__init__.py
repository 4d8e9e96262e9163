"""State in every style: collections, attributes, specs, and looking into a run."""
