"""Sphinx settings of the documentation."""

from abplatform import __version__

project = "abplatform"
author = "the abplatform team"
release = version = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "abplatform"
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]
