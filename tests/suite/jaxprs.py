"""The equations of a jaxpr, for tests that count or look at them."""


def every_equation(jaxpr):
    """Yields the equations of a jaxpr, and those of the jaxprs inside of them."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from every_equation(part)
