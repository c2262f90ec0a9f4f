"""The use cases plan, build and lock as functions of their parts. They print nothing and read no environment."""
