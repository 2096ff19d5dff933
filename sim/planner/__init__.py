"""``qsim plan``: one deployment for a model, a machine, a context and a number of users."""
