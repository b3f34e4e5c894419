"""The process that asks two rankers for one request and answers one list."""
