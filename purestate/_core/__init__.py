"""Running a function: frames, variables, modules, keys, hooks, and the transforms over them."""
