from collections import Counter
def port_haiku_once(text):
    return text, [], Counter()
