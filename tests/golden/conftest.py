# The scripts that make golden files need packages that the tests do without.
collect_ignore_glob = ["*/make_*.py"]
