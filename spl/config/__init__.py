"""Options: dataclasses, overridden by YAML files and ``--name value``; all mistakes reported at once."""
