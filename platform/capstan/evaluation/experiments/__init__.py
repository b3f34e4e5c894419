"""What a log of assignments and outcomes says about an experiment."""
