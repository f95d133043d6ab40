"""A minimal technique of each group, which `trainer new` writes into an own file under another name."""
