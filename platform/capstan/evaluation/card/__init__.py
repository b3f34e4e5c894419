"""The card of one version: all that is known of it, as one HTML file that loads nothing."""


def card_path(rank: int) -> str:
    """Where the card lies among what the registry keeps of a run; rank 1 is that of the first runner-up."""
    return f"runners-up/{rank}/card.html" if rank else "card.html"
