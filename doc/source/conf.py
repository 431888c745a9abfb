"""Sphinx's configuration for the documentation."""

extensions = ["openstackdocstheme", "oslo_config.sphinxext"]
project = "mig_placement"
copyright = "mig_placement developers"  # noqa: A001 (Sphinx's name)
html_theme = "openstackdocs"
openstackdocs_auto_name = False
root_doc = "index"
