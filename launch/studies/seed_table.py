"""Tables of a study's figures over seeds: means with 95 % t intervals, and differences seed by seed."""

import math
import statistics

# Two-sided 95 % quantiles of Student's t, 1 to 30 degrees of freedom.
T_95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
        2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
        2.0452, 2.0423)


def interval(values):
    """Mean and half width of the 95 % t interval; the half width is None for fewer than two values."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    quantile = T_95[min(len(values) - 1, len(T_95)) - 1]
    return mean, quantile * statistics.stdev(values) / math.sqrt(len(values))


def is_number(value):
    return isinstance(value, (int, float)) and math.isfinite(value)


def cell(values, digits, signed=False):
    """Mean and interval, with the number of seeds where some have no value; "-" without any."""
    present = [value for value in values if is_number(value)]
    if not present:
        return "-"
    mean, half_width = interval(present)
    text = f"{mean:+.{digits}f}" if signed else f"{mean:.{digits}f}"
    text += f" ± {half_width:.{digits}f}" if half_width is not None else " (1 seed)"
    return text if len(present) == len(values) or len(present) == 1 else f"{text} (n = {len(present)})"


def differences(values, of_base):
    """Seed by seed; None where one of the two is missing."""
    return [one - other if is_number(one) and is_number(other) else None for one, other in zip(values, of_base)]


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def excludes_zero(values):
    present = [value for value in values if is_number(value)]
    if len(present) < 2:
        return False
    mean, half_width = interval(present)
    return abs(mean) > half_width
