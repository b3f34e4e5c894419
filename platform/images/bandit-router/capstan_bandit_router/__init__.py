"""A ROUTER component for Seldon graphs that learns from rewards."""
