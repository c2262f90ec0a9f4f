"""Registry: pulling images from registries, layouts and archives; nothing is believed that was not verified."""
