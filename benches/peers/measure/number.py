"""Numbers as people read them."""

import math


def number(value, digits=3):
    """So many digits that count, and all of those before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    # Rounded first, or 0.9996 would keep the place that 0.99 has.
    rounded = float(f"{value:.{digits - 1}e}")
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{value:,.{max(0, places)}f}"
