"""flax linen modules inside purestate, and purestate functions as flax modules."""
