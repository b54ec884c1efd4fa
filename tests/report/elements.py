"""Pages as tests read them."""

import html.parser

from keras_leoclr import report


def page_of(*folders, output=None):
    """The HTML of the report of runs."""
    return report.write_report(list(folders), output).read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """All elements with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self._inside = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]
