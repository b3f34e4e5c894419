"""How good a version probably is, told before labels come; and how that compared with the truth once it came."""
