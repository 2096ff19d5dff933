"""Writers of other tools' containers: the layouts that sim.sources.readers read."""
