"""Stack adapters: what a layer of one kind means, as vertices. Pure: they read through the ``Tree`` alone."""
