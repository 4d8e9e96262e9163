def distributions(snt, tf):
    return {}
