"""Sphinx's configuration for the documentation."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "ext"))

extensions = [
    "openstackdocstheme",
    "oslo_config.sphinxext",
    "cliff.sphinxext",
    "mig_commands",
    "mig_log_lines",
    "mig_reasons",
]
project = "mig_placement"
copyright = "mig_placement developers"  # noqa: A001 (Sphinx's name)
html_theme = "openstackdocs"
openstackdocs_auto_name = False
root_doc = "index"

_AUTHORS = ["mig_placement developers"]
man_pages = [
    (f"cli/{name}", name, summary, _AUTHORS, section)
    for name, summary, section in (
        ("mig-placement", "look at and change a node's MIG slices", 1),
        ("mig-placement-agent", "keep Placement true to MIG slices", 8),
        ("mig-placement-status", "check a node before an upgrade", 1),
    )
]

# Options of every table and list, which the page explains once.
autoprogram_cliff_ignored = [
    "--help",
    "--format",
    "--column",
    "--quote",
    "--noindent",
    "--variable",
    "--prefix",
    "--max-width",
    "--fit-width",
    "--print-empty",
    "--sort-column",
    "--sort-ascending",
    "--sort-descending",
]
# Quotes alone: two dashes are the beginning of an option.
smartquotes_action = "q"
