"""Demonstrations: figures that show a technique, and what can be read off them exactly."""
