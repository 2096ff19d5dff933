"""Names of formats and models that users give, with one meaning in every command."""
