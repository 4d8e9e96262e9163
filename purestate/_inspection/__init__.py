"""Inspects a function: tables of its modules, drawings and reports of its equations."""
