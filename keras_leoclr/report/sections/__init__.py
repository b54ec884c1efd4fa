"""The sections of the report: functions from what runs have written to the content of a template.

Each takes the records of the runs and returns what `templates/sections/` shows, as plain data, or something
empty where there is nothing to show. Nothing is escaped here; the templates do that.
"""
