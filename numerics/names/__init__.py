"""Names of formats and schemes: the catalog, the text form and families of names."""
