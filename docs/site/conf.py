"""Sphinx's settings. Its sources are put together by build.py, in .cache/docs."""

from __future__ import annotations

project = "webops.wsgi"
author = "The webops.wsgi maintainers"
project_copyright = author

extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "docs/index"
html_theme = "furo"
html_title = "webops.wsgi"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
# Pages are read by people who are offline too.
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
suppress_warnings = ["myst.header"]  # a README begins where its table of contents ends
highlight_language = "none"
# References of modules to Ansible's own, which are not described here.
nitpicky = False
