"""Numbers as people read them."""


def number(value, digits=3):
    """So many digits that count, and all of those before the point."""
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:,.0f}"
    places = digits - 1
    while magnitude >= 10 and places > 0:
        magnitude /= 10
        places -= 1
    while 0 < magnitude < 1 and places < 5:
        magnitude *= 10
        places += 1
    return f"{value:.{places}f}"
