"""The documentation as a site: ``make docs`` writes it into build/docs. It needs no network."""

from ltu_compute import __version__

project = "ltu-compute"
version = release = __version__
copyright = "its contributors, MIT licence"  # noqa: A001  (Sphinx reads this name)

# The source folder is that of the repository, so that pages link to files outside docs/ as they do
# in the repository itself.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "fixtures/README.md",
]

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["strikethrough"]
suppress_warnings = ["myst.header"]  # benchmarks/README.md is put together from sections

html_theme = "furo"
html_title = "ltu-compute"
html_show_sphinx = False
html_copy_source = False
