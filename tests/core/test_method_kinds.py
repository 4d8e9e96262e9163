"""Marks on methods x kinds of methods x where they run: names, hook order and name stacks of dm-haiku."""

