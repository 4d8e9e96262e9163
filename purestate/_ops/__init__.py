"""Operations: each product of a layer goes through one of them, and can be intercepted."""
