"""What made a model answer as it does: contributions of columns to one answer, and what columns matter over many."""
