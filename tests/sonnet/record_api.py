def api(snt):
    return {}
