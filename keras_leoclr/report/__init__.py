"""A run, or several, as one page to look at."""

from keras_leoclr.report.page import write_report
from keras_leoclr.report.tables import table

__all__ = ["table", "write_report"]
