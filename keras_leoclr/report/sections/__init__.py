"""The sections of the report: functions from the records of runs to the content of a template.

Each function takes the records and returns plain data for a template in `templates/sections/`, or something
empty if there is nothing to show. Nothing is escaped here, because the templates do that.
"""
