"""Recurrent cores: one step each; `unroll` runs them over a sequence."""
