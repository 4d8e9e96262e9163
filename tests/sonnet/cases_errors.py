ERRORS = ()
