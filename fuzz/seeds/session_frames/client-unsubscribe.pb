:
news