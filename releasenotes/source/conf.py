"""Sphinx's configuration for the release notes."""

extensions = ["openstackdocstheme", "reno.sphinxext"]
project = "mig_placement Release Notes"
copyright = "mig_placement developers"  # noqa: A001 (Sphinx's name)
html_theme = "openstackdocs"
openstackdocs_auto_name = False
root_doc = "index"
