"""From a project to a Definition and a plan. Pure: values and Protocols in, values out."""
