"""``spl check env``, the environment checker: examine an environment and suggest fixes."""
