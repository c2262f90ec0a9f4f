"""Images: composed from layers and a config, written to outputs, tagged in the store."""
