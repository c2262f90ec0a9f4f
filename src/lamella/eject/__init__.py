"""The way out: a project as Dockerfile, bake, compose, Makefile and script that work without Lamella."""
