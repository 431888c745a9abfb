"""Sphinx's configuration for the documentation."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "ext"))

extensions = ["openstackdocstheme", "oslo_config.sphinxext", "mig_reasons"]
project = "mig_placement"
copyright = "mig_placement developers"  # noqa: A001 (Sphinx's name)
html_theme = "openstackdocs"
openstackdocs_auto_name = False
root_doc = "index"
