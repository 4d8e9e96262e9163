"""Seeing what a function does: tables of its modules, drawings and reports of its equations."""
