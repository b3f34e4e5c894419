"""Events of entities as a service looks them up: stores, and the features that are made of what they hold."""
