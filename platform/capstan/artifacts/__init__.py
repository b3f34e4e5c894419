"""Bentos as bytes: what they hash to, and where they are kept between machines."""
