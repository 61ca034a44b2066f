"""A scorecard as people read it: text, JSON and one self-contained HTML page; for API, pages and command line alike.

Everything here is values in, text out: no clock, no file is written, no network. Numbers are rounded for people in
text and HTML only; the JSON document carries them as they were computed. Import what is needed from its module
(`text.as_text`, `document.as_document`, `html.as_html`, `charts.build_charts`): only the last two load Altair.
"""
