"""Processing elements, told to a person: what there is, whether it is right, what it costs."""
